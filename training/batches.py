"""Training's batches: a few speakers, several fragments of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.features import MEL_BANDS, STRIDE
from pipeline.functionals import HOP
from pipeline.timeline import EMOTIONS, SAMPLE_RATE
from training.config import ToneNetRecipe
from training.fragments import Fragments

HEADS = ("alone", "known", "alone_frames", "known_frames")


class SpeakerBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras is not typed
    """An epoch hears about every clip once. A batch is `recipe.speakers` speakers with `recipe.clips` fragments each.

    All of a speaker's fragments in a batch were heard in one place, so that the place is part of how they usually
    sound. Of a random number of them the history is made that the others are set against: a model that has only met
    full histories does badly in the first minute. One seed and one epoch give one set of batches.
    """

    def __init__(self, fragments: Fragments, recipe: ToneNetRecipe, seed: int) -> None:
        super().__init__()
        self._fragments = fragments
        self._starts = fragments.starts()
        self._recipe = recipe
        self._seed = seed
        self.epoch = 0
        self._speakers = np.unique(fragments.speakers)
        self._elsewhere = np.unique(fragments.places[fragments.places > 0])
        self._batches = max(1, round(len(np.unique(fragments.clips)) / (recipe.speakers * recipe.clips)))
        # by speaker and place, then by clip: the cuts to choose from
        self._cuts = {
            (speaker, place): _by_clip(fragments, (fragments.speakers == speaker) & (fragments.places == place))
            for speaker in self._speakers
            for place in (0, *self._elsewhere)
        }

    def __len__(self) -> int:
        return self._batches

    def __getitem__(self, index: int) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.float32]]]:
        rng = np.random.default_rng((self._seed, self.epoch, index))
        # In turn and not at random: Keras takes the shape of all batches from the first two, where these agree.
        seconds = self._recipe.lengths[index % len(self._recipe.lengths)]
        chosen, history = zip(*(self._of_speaker(speaker, seconds, rng) for speaker in self._draw(rng)), strict=True)
        rows = np.concatenate(chosen)
        length = round(seconds * SAMPLE_RATE / (HOP * STRIDE))
        frames = np.stack([self._frames(row, length, rng) for row in rows])
        labels = np.eye(len(EMOTIONS), dtype=np.float32)[self._fragments.labels[rows]]
        functionals = self._fragments.functionals[rows]
        if self._recipe.mixup:
            frames, functionals, labels = self._mixed((frames, functionals, labels), rng)
        inputs = {
            "frames": frames,
            "heard": np.ones(frames.shape[:2], bool),
            "functionals": functionals,
            "history": np.concatenate(history),
        }
        return inputs, dict.fromkeys(HEADS, labels)

    def _mixed(self, rows: tuple[NDArray[np.float32], ...], rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
        """Each row of the arrays blended with another one of the same speaker, so that it stays one voice."""
        clips = self._recipe.clips
        mates = np.concatenate([s * clips + rng.permutation(clips) for s in range(self._recipe.speakers)])
        share = rng.beta(self._recipe.mixup, self._recipe.mixup, len(mates)).astype(np.float32)
        for values in rows:
            of_own = np.maximum(share, 1 - share).reshape(-1, *[1] * (values.ndim - 1))
            yield of_own * values + (1 - of_own) * values[mates]

    def _draw(self, rng: np.random.Generator) -> NDArray[np.str_]:
        enough = len(self._speakers) >= self._recipe.speakers
        return rng.choice(self._speakers, self._recipe.speakers, replace=not enough)

    def _of_speaker(
        self, speaker: str, seconds: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Fragments of a speaker, about so long, and how many seconds of history each makes: (clips,) both."""
        recorded = not len(self._elsewhere) or rng.random() < self._recipe.as_recorded
        cuts = self._cuts[speaker, 0 if recorded else rng.choice(self._elsewhere)]
        drawn = rng.choice(len(cuts), self._recipe.clips, replace=len(cuts) < self._recipe.clips)
        wanted = seconds * rng.uniform(0.9, 1.1)
        rows = np.array(
            [
                of_clip[np.abs(self._fragments.seconds[of_clip] - wanted).argmin()]
                for of_clip in (cuts[clip] for clip in drawn)
            ]
        )
        known = rng.integers(1, self._recipe.clips + 1)
        history = np.where(np.arange(len(rows)) < known, self._fragments.seconds[rows], 0)
        return rows, history.astype(np.float32)

    def _frames(self, row: int, length: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """The fragment's frames cut to `length`, or said again until they fill it, and masked: (length, MEL_BANDS)."""
        start, heard = self._starts[row], int(self._fragments.lengths[row])
        offset = int(rng.integers(max(1, heard - length + 1)))
        frames = np.resize(
            self._fragments.frames[start + offset : start + min(heard, offset + length)].astype(np.float32),
            (length, MEL_BANDS),
        )
        for _ in range(self._recipe.masks):
            for axis in (frames, frames.T):
                longest = round(self._recipe.longest_mask * len(axis))
                span = int(rng.integers(longest + 1))
                begin = int(rng.integers(len(axis) - span + 1))
                axis[begin : begin + span] = 0  # the mean: see `pipeline.features.level_free`
        return frames


def _by_clip(fragments: Fragments, where: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    rows = np.flatnonzero(where)
    return [rows[fragments.clips[rows] == clip] for clip in np.unique(fragments.clips[rows])]
