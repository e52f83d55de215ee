"""TIM-Net by its own protocol: its figures on random folds of clips, and beside them on folds of unknown speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import ray
from numpy.typing import NDArray
from ray.util.queue import Queue
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pipeline.timeline import EMOTIONS
from training import tim_net
from training.config import TimNetRecipe, Training
from training.corpora import Clip
from training.crossvalidation import folds_of, run_folder
from training.evaluate import Rate, rates
from training.folds import clip_folds
from training.fragments import clips_of
from training.tasks import connect, run, tell

CLIPS: Final = "clips"
SPEAKERS: Final = "speakers"


@dataclass(frozen=True)
class Reproduction:
    """What TIM-Net reaches after its last epoch, on the folds that were run."""

    protocol: str
    epochs: int
    folds: list[int]  # from 1
    of: int  # folds in all
    clips: int  # that were answered for
    uar: Rate
    war: Rate
    by_fold: list[tuple[float, float]]  # UAR and WAR of each

    def as_dict(self) -> dict[str, Any]:
        """The same as nested dicts of numbers, for JSON."""
        return asdict(self)

    def show(self, console: Console) -> None:
        """Print the table, beside what the authors publish."""
        held_out = "clips of known speakers" if self.protocol == CLIPS else "unknown speakers"
        title = f"TIM-Net, {self.epochs} epochs, {len(self.folds)} of {self.of} folds, {self.clips} {held_out}"
        table = Table("fold", "UAR", "WAR", title=title)
        for fold, (uar, war) in zip(self.folds, self.by_fold, strict=True):
            table.add_row(str(fold), f"{uar:.3f}", f"{war:.3f}")
        table.add_row("together", str(self.uar), str(self.war))
        if self.protocol == CLIPS:
            table.add_row("published", f"{tim_net.PUBLISHED_UAR:.3f}", f"{tim_net.PUBLISHED_WAR:.3f}")
        console.print(table)


def reproduce(config: Training, protocol: str, only: Sequence[int], progress: Progress) -> Reproduction:
    """Train and test on all folds, or on those in `only` (from 1); folds that are already done are not done again."""
    clips = clips_of(config)
    held_out = _held_out(config, clips, protocol)
    chosen = sorted(set(only)) or list(range(1, len(held_out) + 1))
    if strange := [fold for fold in chosen if fold > len(held_out)]:
        raise ValueError(f"there is no fold {strange[0]}: there are {len(held_out)}")
    folder = run_folder(config, clips, folds_of(config, clips)) / protocol
    places = {fold: folder / f"fold-{fold}" for fold in chosen}
    _train(config, clips, {fold: held_out[fold - 1] for fold in chosen}, places, progress)
    answers = [np.load(places[fold] / "answers.npy") for fold in chosen]
    labels = _labels(clips)
    speakers = np.array([clip.speaker for clip in clips])
    tested = np.concatenate([np.flatnonzero(held_out[fold - 1]) for fold in chosen])
    uar, war = rates(np.concatenate(answers), labels[tested], speakers[tested], config.seed)
    by_fold = [
        tuple(rate.value for rate in rates(answer, labels[where], speakers[where], config.seed))
        for answer, where in ((a, held_out[fold - 1]) for a, fold in zip(answers, chosen, strict=True))
    ]
    epochs = config.tim_net.epochs
    return Reproduction(protocol, epochs, chosen, len(held_out), len(tested), uar, war, by_fold)  # type: ignore[arg-type]


def _held_out(config: Training, clips: Sequence[Clip], protocol: str) -> list[NDArray[np.bool_]]:
    """For each fold, which clips are tested: (n,)."""
    if protocol == SPEAKERS:
        speakers = np.array([clip.speaker for clip in clips])
        return [np.isin(speakers, fold) for fold in folds_of(config, clips)]
    fold_of = clip_folds(_labels(clips), tim_net.FOLDS, config.seed)
    return [fold_of == fold for fold in range(tim_net.FOLDS)]


def _train(
    config: Training,
    clips: Sequence[Clip],
    held_out: dict[int, NDArray[np.bool_]],
    places: dict[int, Path],
    progress: Progress,
) -> None:
    waiting = {fold: where for fold, where in held_out.items() if not (places[fold] / "answers.npy").exists()}
    if not waiting:
        return
    connect(config)
    coefficients = [tim_net.mfcc(clip.path) for clip in progress.track(clips, description="features")]
    data = ray.put((np.stack(coefficients), _labels(clips)))
    calls = {fold: (config.tim_net, config.seed + fold, data, where, places[fold]) for fold, where in waiting.items()}
    for fold, answers in run(_fold, calls, config.tim_net.epochs, config.gpus, progress):
        places[fold].mkdir(parents=True, exist_ok=True)
        np.save(places[fold] / "answers.npy", answers)


def _fold(
    recipe: TimNetRecipe,
    seed: int,
    data: tuple[NDArray[np.float32], NDArray[np.int64]],
    held_out: NDArray[np.bool_],
    place: Path,
    fold: int,
    news: Queue,
) -> NDArray[np.int64]:
    """Train on all clips but those held out, to the last epoch, and answer for these: indices into EMOTIONS."""
    coefficients, labels = data
    keras.utils.set_random_seed(seed)
    model = tim_net.tim_net()
    tim_net.compile_as_published(model)
    callbacks = [
        # An epoch is kept before it is told of, or one that was told of could be lost.
        keras.callbacks.BackupAndRestore(place / "checkpoints", delete_checkpoint=False),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tell(news, fold, epoch + 1, logs["loss"])),
    ]
    model.fit(
        coefficients[~held_out],
        np.eye(len(EMOTIONS), dtype=np.float32)[labels[~held_out]],
        batch_size=recipe.batch,
        epochs=recipe.epochs,
        callbacks=callbacks,
        verbose=0,
    )
    answers: NDArray[np.int64] = model.predict(coefficients[held_out], verbose=0).argmax(axis=1)
    return answers


def _labels(clips: Sequence[Clip]) -> NDArray[np.int64]:
    return np.array([EMOTIONS.index(clip.emotion) for clip in clips])
