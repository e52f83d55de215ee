"""The commands `tonetrack evaluate ...`: figures for what the pipeline does with voices that it has never heard."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from training.config import Training
from training.console import (
    ConfigFile,
    Corpus,
    Epochs,
    FoldFile,
    Gpus,
    Root,
    Runs,
    Seed,
    Workers,
    fail,
    progress_bars,
    recipe_of,
    say,
    telling,
)

if TYPE_CHECKING:  # the training modules load torch and TensorFlow, which --help has no use for
    from training.evaluate import Evaluation

app = typer.Typer(no_args_is_help=True, help="Measure on speakers that were not in training.")

Report = Annotated[Path | None, typer.Option(help="Also write every figure to this JSON file.")]
Plots = Annotated[Path | None, typer.Option(help="Also draw the plots of the model card into this folder (SVG).")]
Weights = Annotated[
    Path | None, typer.Option(help="Folder of a finished model to judge as it is, on speakers it has not heard.")
]
Model = Annotated[
    Literal["tone-net", "tim-net"] | None, typer.Option(help="tim-net: the published network, by its own protocol.")
]
Protocol = Annotated[
    Literal["clips", "speakers"] | None,
    typer.Option(help="What is held out of tim-net's training: clips, as published (default), or speakers."),
]
Only = Annotated[list[int] | None, typer.Option("--fold", min=1, help="Run this fold alone (tim-net); repeatable.")]


class SetName(StrEnum):
    """Conversations that are there to be judged; see `training.speaker_sets`."""

    librispeech = "librispeech"
    ravdess = "ravdess"
    ami = "ami"


@app.command("emotion")
def evaluate_emotion_command(
    config: ConfigFile = None,
    model: Model = None,
    weights: Weights = None,
    corpus: Corpus = None,
    corpus_root: Root = None,
    folds: FoldFile = None,
    protocol: Protocol = None,
    only: Only = None,
    epochs: Epochs = None,
    workers: Workers = None,
    gpus: Gpus = None,
    seed: Seed = None,
    runs: Runs = None,
    report: Report = None,
    plots: Plots = None,
) -> None:
    """Cross-validate a recipe over folds of speakers, or judge a finished model, and print what it reaches.

    A run that was interrupted goes on where it was. With RAY_ADDRESS set, folds are trained on that Ray cluster.
    """
    recipe = recipe_of(
        config, model=model, corpus=corpus, corpus_root=corpus_root, folds=folds, workers=workers, gpus=gpus,
        seed=seed, runs=runs, epochs=epochs,
    )  # fmt: skip
    _prepare(report)
    if recipe.model == "tim-net":
        if weights or plots:
            fail("--weights and --plots are tone-net's; tim-net is trained anew and has no card.")
        _evaluate_tim_net(recipe, protocol or "clips", only or [], report)
        return
    if protocol or only:
        fail("--protocol and --fold are for --model tim-net; tone-net is measured on unknown speakers, all of them.")
    if weights and (folds or epochs):
        fail("A finished model is not trained: --folds and --epochs mean nothing beside --weights.")
    with telling(), progress_bars() as progress:
        from training.ship import judge, measure

        answers, evaluation = judge(recipe, weights, progress) if weights else measure(recipe, progress)
    _print(evaluation, report)
    if plots:
        _draw(lambda: _plots(answers, evaluation, plots))


@app.command("conversation")
def evaluate_conversation_command(
    config: ConfigFile = None,
    weights: Weights = None,
    actors: Annotated[str | None, typer.Option(help="With --weights: who talks: 21,22,23. Default: all.")] = None,
    corpus_root: Root = None,
    readers: Annotated[
        Path | None,
        typer.Option(help="LibriSpeech, to fit voiceprints anew. Default: in $TONETRACK_DATA."),
    ] = None,
    conversations: Annotated[int, typer.Option(min=1, help="For each fold.")] = 3,
    seconds: Annotated[float, typer.Option(min=20, help="Longest conversation.")] = 90.0,
    speakers: Annotated[int, typer.Option(min=1, help="In a conversation, if the fold has so many.")] = 3,
    folds: FoldFile = None,
    workers: Workers = None,
    seed: Seed = None,
    runs: Runs = None,
    report: Report = None,
) -> None:
    """What a user sees: simulated conversations of unknown actors through the whole pipeline, live and offline.

    Each fold's actors are heard by the model of the fold, which is trained first where it is not there yet (twenty
    minutes on 2 cores). With --weights a finished model hears actors whom neither it nor the shipped voiceprints know.
    """
    recipe = recipe_of(config, corpus_root=corpus_root, folds=folds, workers=workers, seed=seed, runs=runs)
    _prepare(report)
    chosen = actors.split(",") if actors else []
    if chosen and not weights:
        fail("--actors goes with --weights; without it every fold's actors are heard by the model that never did.")
    with telling(), progress_bars() as progress:
        from training.conversations import evaluate_conversations
        from training.corpora import Ravdess, default_data
        from training.ship import fold_models, strangers_to

        acting = recipe.corpus_root or default_data() / "ravdess"
        models: list[tuple[Path | None, tuple[str, ...]]]
        if weights:
            unknown = {clip.speaker for clip in strangers_to(weights, "ravdess", list(Ravdess(acting).clips()))}
            if strange := set(chosen) - unknown:
                raise ValueError(f"the model has learnt from these actors, or they are not there: {', '.join(strange)}")
            models, reading = [(weights, tuple(sorted(chosen or unknown)))], None
        else:
            models, reading = [*fold_models(recipe, progress)], readers or default_data() / "librispeech"
        bar = progress.add_task("conversations", total=1.0)
        evaluation = evaluate_conversations(
            models, acting, reading, conversations, seconds, speakers, recipe.seed,
            lambda step, share: progress.update(bar, completed=share, description=step), recipe.runs,
        )  # fmt: skip
    evaluation.show(Console())
    if report:
        report.write_text(json.dumps(evaluation.as_dict(), indent=1) + "\n")


@app.command("speakers")
def evaluate_speakers_command(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Recordings, each with who speaks in NAME.rttm or in one .rttm for all.", show_default=False
        ),
    ] = None,
    names: Annotated[
        list[SetName] | None,
        typer.Option("--set", help="Repeatable. Default: all three, or none where folders are given."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Where these sets' corpora are. Default: $TONETRACK_DATA.")] = None,
    conversations: Annotated[
        int | None, typer.Option(min=1, help="For each fold of a simulated set. Default: minutes on 2 cores.")
    ] = None,
    unheard: Annotated[
        bool,
        typer.Option("--unheard", help="Fit voiceprints without the readers and actors that the folders' RTTMs name."),
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Ten times as many: an hour on 2 cores.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Conversations heard at once. Default: all cores.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all chance.")] = 1,
    runs: Annotated[Path | None, typer.Option(help="Where voiceprints fitted anew are kept.")] = None,
    report: Report = None,
) -> None:
    """Who spoke when: the diarisation error of conversations of unknown voices, offline and live, and its parts.

    Readers and actors talk in simulated conversations and are heard with voiceprints that were fitted without them;
    AMI's meetings and folders are heard with the voiceprints as shipped; --unheard is for folders of conversations
    that were made of the same readers and actors. What else has heard them is said beside the figures.
    """
    if full and conversations:
        fail("--full and --conversations both say how many; take one.")
    if unheard and not folders:
        fail("--unheard is for folders; the simulated sets hold out their speakers anyway, and AMI's were never heard.")
    _prepare(report)
    with telling(), progress_bars() as progress:
        from training.corpora import default_data
        from training.speaker_sets import talk_sets
        from training.speakers import evaluate_speakers

        # A bar is there once there is something to tell, so that neither a mistake nor folders leave an empty one.
        fitted = progress.add_task("voiceprints", visible=False)
        heard = progress.add_task("conversations", visible=False)
        chosen = names or ([] if folders else list(SetName))
        sets = talk_sets(
            chosen, folders or [], data or default_data(), conversations, full, seed, runs or Training().runs,
            lambda done, of: progress.update(fitted, completed=done, total=of, visible=True), unheard,
        )  # fmt: skip
        say(", ".join(f"{one.name}: {one.extent}" for one in sets))
        evaluation = evaluate_speakers(
            sets, workers or os.cpu_count() or 1, seed,
            lambda name, done, of: progress.update(heard, completed=done, total=of, description=name, visible=True),
        )  # fmt: skip
    evaluation.show(Console())
    if report:
        report.write_text(json.dumps(evaluation.as_dict(), indent=1) + "\n")


def _prepare(report: Path | None) -> None:
    """Whoever waits an hour for figures shall not lose them to a folder that is not there."""
    if report:
        report.parent.mkdir(parents=True, exist_ok=True)


def _evaluate_tim_net(recipe: Training, protocol: str, only: list[int], report: Path | None) -> None:
    with telling(), progress_bars() as progress:
        from training.reproduction import reproduce

        reproduction = reproduce(recipe, protocol, only, progress)
    reproduction.show(Console())
    if report:
        report.write_text(json.dumps(reproduction.as_dict(), indent=1) + "\n")


def _print(evaluation: Evaluation, report: Path | None) -> None:
    evaluation.show(Console())
    if report:
        report.write_text(json.dumps(evaluation.as_dict(), indent=1) + "\n")


def _plots(answers: Any, evaluation: Evaluation, folder: Path) -> None:
    from training.export import write_plots

    for path in write_plots(answers, evaluation, folder):
        say(f"{path}")


def _draw(draw: Callable[[], None]) -> None:
    from training.plots import NoBrowser

    try:
        draw()
    except NoBrowser as error:
        say(f"No plots: {error}")
