"""The commands `train` and `evaluate`, for the command line of ToneTrack to mount."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.config import Training

if TYPE_CHECKING:  # the training modules load torch and TensorFlow, which --help has no use for
    from training.evaluate import Evaluation

app = typer.Typer(no_args_is_help=True, help="Train the emotion model, and measure how well it hears unknown speakers.")
evaluate_app = typer.Typer(no_args_is_help=True, help="Measure on speakers that were not in training.")
app.add_typer(evaluate_app, name="evaluate")
console = Console(stderr=True)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; keys and defaults: training/config.py.")]
Corpus = Annotated[str | None, typer.Option(help="ravdess, emo-db, crema-d, or labelled: a folder with a labels.csv.")]
Root = Annotated[Path | None, typer.Option("--corpus-root", help="The corpus's folder. Default: in $TONETRACK_DATA.")]
FoldFile = Annotated[Path | None, typer.Option("--folds", help="JSON: lists of speakers held out together.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the training clips.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Folds trained at once on this machine, a core each.")]
Gpus = Annotated[float | None, typer.Option(min=0, help="GPUs of one fold; see KERAS_BACKEND.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of all chance.")]
Runs = Annotated[Path | None, typer.Option(help="Where features, checkpoints and folds are kept; a run goes on there.")]
Output = Annotated[Path, typer.Option(help="Folder to write the model, its figures and its card to.")]
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


@app.command("train")
def train_command(
    output: Output,
    config: ConfigFile = None,
    corpus: Corpus = None,
    corpus_root: Root = None,
    folds: FoldFile = None,
    epochs: Epochs = None,
    workers: Workers = None,
    gpus: Gpus = None,
    seed: Seed = None,
    runs: Runs = None,
) -> None:
    """Cross-validate the recipe, train it on every speaker, and write a model that the service can load.

    A run that was interrupted goes on where it was. With RAY_ADDRESS set, folds are trained on that Ray cluster.
    """
    recipe = recipe_of(
        config, corpus=corpus, corpus_root=corpus_root, folds=folds, workers=workers, gpus=gpus, seed=seed, runs=runs,
        epochs=epochs,
    )  # fmt: skip
    if recipe.model != "tone-net":
        fail("Only tone-net is trained to be served; `tonetrack evaluate emotion --model tim-net` measures the other.")
    with _telling(), _progress() as progress:
        from training.ship import ship

        evaluation = ship(recipe, output, progress, _say)
    evaluation.show(Console())


@evaluate_app.command("emotion")
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
    with _telling(), _progress() as progress:
        from training.ship import judge, measure

        answers, evaluation = judge(recipe, weights, progress) if weights else measure(recipe, progress)
    _print(evaluation, report)
    if plots:
        _draw(lambda: _plots(answers, evaluation, plots))


@evaluate_app.command("conversation")
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
    with _telling(), _progress() as progress:
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


def recipe_of(config: Path | None, *, epochs: int | None = None, **overrides: object) -> Training:
    """The recipe in the file, or the default one, with the command line's options over it."""
    try:
        values = (Training.read(config) if config else Training()).model_dump()
        values |= {key: value for key, value in overrides.items() if value is not None}
        for network in ("tone_net", "tim_net") if epochs else ():
            values[network]["epochs"] = epochs
        return Training.model_validate(values)
    except ValidationError as error:
        mistakes = (f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}" for mistake in error.errors())
        fail(f"The recipe does not make sense. {'; '.join(mistakes)}.")
    except (OSError, ValueError) as error:
        fail(f"The recipe cannot be read: {error}")


def fail(message: str) -> NoReturn:
    """Say what was wrong, and end."""
    console.print(message, style="bold red", soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(1)


def _prepare(report: Path | None) -> None:
    """Whoever waits an hour for figures shall not lose them to a folder that is not there."""
    if report:
        report.parent.mkdir(parents=True, exist_ok=True)


def _evaluate_tim_net(recipe: Training, protocol: str, only: list[int], report: Path | None) -> None:
    with _telling(), _progress() as progress:
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
        _say(f"{path}")


def _draw(draw: Callable[[], None]) -> None:
    from training.plots import NoBrowser

    try:
        draw()
    except NoBrowser as error:
        _say(f"No plots: {error}")


def _say(message: str) -> None:
    console.print(message, soft_wrap=True, highlight=False, markup=False)


def _progress() -> Progress:
    described, left = TextColumn("{task.description}"), TimeRemainingColumn()
    return Progress(described, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), left, console=console)


@contextmanager
def _telling() -> Iterator[None]:
    """What a person can mend is told in a sentence, not in a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports the GPUs that it did not find as errors
    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"Training needs {error.name}, which the service does without: `make develop` installs it.")
    except (FileNotFoundError, ValueError) as error:
        fail(str(error))
