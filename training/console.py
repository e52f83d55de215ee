"""What the commands of training share: options, the recipe that they come to, and how they talk to a person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.config import Training

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


def say(message: str) -> None:
    """Tell whoever waits, beside the bars."""
    console.print(message, soft_wrap=True, highlight=False, markup=False)


def progress_bars() -> Progress:
    """Bars with what is done, how long it took and how long it will."""
    described, left = TextColumn("{task.description}", markup=False), TimeRemainingColumn()
    return Progress(described, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), left, console=console)


@contextmanager
def telling() -> Iterator[None]:
    """What a person can mend is told in a sentence, not in a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports the GPUs that it did not find as errors
    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"Training needs {error.name}, which the service does without: `make develop` installs it.")
    except (FileNotFoundError, ValueError) as error:
        fail(str(error))
