"""The commands `train` and `evaluate`, for the command line of ToneTrack to mount."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
from training.evaluate_cli import app as evaluate_app

app = typer.Typer(no_args_is_help=True, help="Train the emotion model, and measure how well it hears unknown speakers.")
app.add_typer(evaluate_app, name="evaluate")

Output = Annotated[Path, typer.Option(help="Folder to write the model, its figures and its card to.")]


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
    with telling(), progress_bars() as progress:
        from training.ship import ship

        evaluation = ship(recipe, output, progress, say)
    evaluation.show(Console())
