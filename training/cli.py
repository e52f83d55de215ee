"""The commands `train` and `evaluate`, for the command line of ToneTrack to mount."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.config import TrainingConfig

if TYPE_CHECKING:  # the training modules load TensorFlow, which --help has no use for
    from training.evaluate import Evaluation

app = typer.Typer(no_args_is_help=True, help="Train the emotion model, and measure how well it hears unknown speakers.")
evaluate_app = typer.Typer(no_args_is_help=True, help="Measure a recipe on speakers that it was not trained on.")
app.add_typer(evaluate_app, name="evaluate")

ConfigFile = Annotated[Path | None, typer.Option("--config", exists=True, help="TOML file of keys of TrainingConfig.")]
Data = Annotated[Path | None, typer.Option(help="Folder that holds the corpora. Default: $TONETRACK_DATA.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the training speakers.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Folds trained at once, one process and one thread each.")]
Output = Annotated[Path, typer.Option(help="Folder to write the model, its figures and its card to.")]
Report = Annotated[Path | None, typer.Option(help="Also write every figure to this JSON file.")]


@app.command("train")
def train_command(
    output: Output,
    config: ConfigFile = None,
    data: Data = None,
    epochs: Epochs = None,
    workers: Workers = None,
) -> None:
    """Cross-validate the recipe, train it on every speaker, and write a model that the service can load."""
    recipe = recipe_of(config, data=data, epochs=epochs, workers=workers)
    from training.train import train

    _show(train(recipe, output))


@evaluate_app.command("emotion")
def evaluate_emotion_command(
    config: ConfigFile = None,
    data: Data = None,
    epochs: Epochs = None,
    workers: Workers = None,
    report: Report = None,
) -> None:
    """Cross-validate the recipe over folds of speakers, and print what it reaches on those it never heard."""
    recipe = recipe_of(config, data=data, epochs=epochs, workers=workers)
    from training.train import cross_validate

    evaluation = cross_validate(recipe)
    _show(evaluation)
    if report:
        report.write_text(json.dumps(evaluation.as_dict(), indent=1) + "\n")


def recipe_of(config: Path | None, **overrides: object) -> TrainingConfig:
    """The recipe in the file, or the default one, with the command line's options over it."""
    recipe = TrainingConfig.read(config) if config else TrainingConfig()
    given = {key: value for key, value in overrides.items() if value is not None}
    return TrainingConfig.model_validate(recipe.model_dump() | given)


def _show(evaluation: Evaluation) -> None:
    table = Table(title=f"{evaluation.speakers} speakers, answered by models that never heard them (95 % interval)")
    for column in ("heard", "UAR", "WAR", "ECE", "asserted", "right, of those"):
        table.add_column(column)
    for condition, hearing in evaluation.hearing.items():
        confidence = evaluation.confidence[condition]
        table.add_row(
            condition,
            f"{hearing.uar.value:.3f} ({hearing.uar.low:.3f}-{hearing.uar.high:.3f})",
            f"{hearing.war.value:.3f} ({hearing.war.low:.3f}-{hearing.war.high:.3f})",
            f"{confidence.calibration_error:.3f}",
            f"{confidence.asserted:.2f}",
            f"{confidence.asserted_accuracy:.2f}",
        )
    Console().print(table)
