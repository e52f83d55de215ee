"""From a recipe to figures, and from there to a model that the service can load."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rich.progress import Progress

from pipeline.emotion import METADATA
from training import plots
from training.config import Training
from training.corpora import Clip
from training.crossvalidation import Answers, answer, cross_validate, folds_of, train_on_everybody
from training.evaluate import Calibration, Evaluation, evaluate, evaluate_as_is, within
from training.export import export, write_metadata, write_plots
from training.fragments import clips_of, test_fragments
from training.tasks import connect
from training.train import Trained


def measure(config: Training, progress: Progress) -> tuple[Answers, Evaluation]:
    """What a recipe reaches on unknown speakers.

    Every fold's model is left where the service could load it, with the calibration that the other folds ask for.
    """
    clips = clips_of(config)
    answers, places = cross_validate(config, clips, progress)
    folds = folds_of(config, clips)
    evaluation = evaluate(answers, folds, _sexes(clips), config.seed, config.asserted)
    everybody = {clip.speaker for clip in clips}
    for place, fold, calibration in zip(places, folds, evaluation.fold_calibrations, strict=True):
        write_metadata(calibration, config, everybody - set(fold), place)
    return answers, evaluation


def ship(config: Training, output: Path, progress: Progress, say: Callable[[str], None]) -> Evaluation:
    """Measure a recipe, train it on every speaker, and write model, figures, card and plots.

    The figures and the calibration are those of models that had not heard the speakers they were tested on. The
    shipped model is made by the same recipe and has heard them all.
    """
    answers, evaluation = measure(config, progress)
    export(train_on_everybody(config, clips_of(config), progress), evaluation, config, output)
    try:
        write_plots(answers, evaluation, output)
    except plots.NoBrowser as error:
        say(f"The card goes without plots: {error}")
    return evaluation


def fold_models(config: Training, progress: Progress) -> list[tuple[Path, tuple[str, ...]]]:
    """The model of each fold, and the speakers whom it has never heard; trained now where it is not there yet."""
    measure(config, progress)
    clips = clips_of(config)
    _, places = cross_validate(config, clips, progress)
    return list(zip(places, folds_of(config, clips), strict=True))


def judge(config: Training, weights: Path, progress: Progress) -> tuple[Answers, Evaluation]:
    """What a finished model reaches on those of a corpus whom it has not heard.

    Of a corpus with fewer emotions only those count, as is usual between corpora. Raises ValueError where the model
    has heard everybody.
    """
    trained = Trained.load(weights)
    clips = clips_of(config)
    strangers = strangers_to(weights, config.corpus, clips)
    connect(config)
    fragments = test_fragments(config, strangers, progress)
    answers = answer(trained.head, trained.embed(fragments), fragments, config.seed)
    answers = within(answers, {clip.emotion for clip in strangers})
    calibration = Calibration(*trained.head.temperatures, trained.head.unsure_below)
    return answers, evaluate_as_is(answers, calibration, _sexes(strangers), config.seed)


def strangers_to(weights: Path, corpus: str, clips: list[Clip]) -> list[Clip]:
    """The clips of speakers whom a model has not learnt from. Raises ValueError where there are none."""
    metadata = json.loads((weights / METADATA).read_text())
    known = set(metadata["speakers"]) if metadata["corpus"] == corpus else set()
    strangers = [clip for clip in clips if clip.speaker not in known]
    if not strangers:
        raise ValueError(f"the model in {weights} has learnt from everybody in this corpus")
    return strangers


def _sexes(clips: list[Clip]) -> dict[str, str | None]:
    return {clip.speaker: clip.sex for clip in clips}
