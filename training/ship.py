"""From a recipe to figures, and from there to a model that the service can load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ray
from rich.progress import Progress

from training import plots
from training.config import Training
from training.corpora import Clip
from training.crossvalidation import Answers, answer, connect, cross_validate, folds_of, run_folder
from training.evaluate import Calibration, Evaluation, evaluate, evaluate_as_is, within
from training.export import export, write_metadata, write_plots
from training.fragments import clips_of, test_fragments, training_fragments
from training.train import Trained, train


def measure(config: Training, progress: Progress) -> tuple[Answers, Evaluation]:
    """What a recipe reaches on unknown speakers. Every fold's model is left where the service could load it."""
    clips = clips_of(config)
    answers, places = cross_validate(config, clips, progress)
    folds = folds_of(config, clips)
    evaluation = evaluate(answers, folds, _sexes(clips), config.seed, config.asserted)
    for place in places:
        write_metadata(evaluation.calibration, config, place)
    return answers, evaluation


def ship(config: Training, output: Path, progress: Progress, say: Callable[[str], None]) -> Evaluation:
    """Measure a recipe, train it on every speaker, and write model, figures, card and plots.

    The figures and the calibration are those of models that had not heard the speakers they were tested on. The
    shipped model is made by the same recipe and has heard them all.
    """
    answers, evaluation = measure(config, progress)
    clips = clips_of(config)
    connect(config)
    fragments = training_fragments(config, clips, progress)
    ray.shutdown()
    epochs = config.tone_net.epochs * config.tone_net.members
    bar = progress.add_task("every speaker", total=epochs)
    trained = train(
        fragments,
        config.tone_net,
        config.seed,
        run_folder(config, clips, folds_of(config, clips)) / "everybody",
        lambda epoch, loss: progress.update(bar, completed=epoch, description=f"every speaker: loss {loss:.2f}"),
    )
    export(trained, evaluation, config, output)
    try:
        write_plots(answers, evaluation, output)
    except plots.NoBrowser as error:
        say(f"The card goes without plots: {error}")
    return evaluation


def fold_models(config: Training, progress: Progress) -> list[tuple[Path, tuple[str, ...]]]:
    """The model of each fold, and the speakers whom it has never heard; trained now where it is not there yet."""
    measure(config, progress)
    clips = clips_of(config)
    folds = folds_of(config, clips)
    run = run_folder(config, clips, folds)
    return [(run / f"fold-{number}", fold) for number, fold in enumerate(folds, 1)]


def judge(config: Training, weights: Path, progress: Progress) -> tuple[Answers, Evaluation]:
    """What a finished model reaches on a corpus whose speakers it has not heard.

    Of a corpus with fewer emotions only those count, as is usual between corpora.
    """
    trained = Trained.load(weights)
    clips = clips_of(config)
    connect(config)
    fragments = test_fragments(config, clips, progress)
    answers = answer(trained.head, trained.embed(fragments), fragments, config.seed)
    answers = within(answers, {clip.emotion for clip in clips})
    calibration = Calibration(*trained.head.temperatures, trained.head.unsure_below)
    return answers, evaluate_as_is(answers, calibration, _sexes(clips), config.seed)


def _sexes(clips: list[Clip]) -> dict[str, str | None]:
    return {clip.speaker: clip.sex for clip in clips}
