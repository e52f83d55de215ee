"""The fragments that a model learns from and is tested on, as features, and training's batches of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import keras
import numpy as np
from rich.progress import Progress

from pipeline.features import COEFFICIENTS, SETTINGS, mfcc
from pipeline.timeline import EMOTIONS, SAMPLE_RATE
from training import sound
from training.config import TrainingConfig
from training.corpora import CORPORA, Clip

WHOLE = "whole"
ROOM = "2 s, room"
LENGTHS = {"1 s": 1.0, "1.5 s": 1.5, "2 s": 2.0, "3 s": 3.0}
CONDITIONS = (*LENGTHS, WHOLE, ROOM)
ROOM_NOISE = 22.0  # dB of speech over noise in the condition `ROOM`


@dataclass(frozen=True)
class Fragments:
    """n fragments of speech, as features with a label each."""

    features: np.ndarray  # float32 (sum of `frames`, COEFFICIENTS), one fragment after another
    frames: np.ndarray  # (n,) how many frames each has
    clips: np.ndarray  # (n,) which clip each was cut from
    labels: np.ndarray  # (n,) index into EMOTIONS
    speakers: np.ndarray  # (n,) str
    conditions: np.ndarray  # (n,) str: one of CONDITIONS, or "" in training

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, chosen: np.ndarray) -> Fragments:
        """The fragments at `chosen`, indices or a mask of (n,)."""
        stops = np.cumsum(self.frames)
        spans = zip((stops - self.frames)[chosen], stops[chosen], strict=True)
        return Fragments(
            np.concatenate([self.features[start:stop] for start, stop in spans]),
            *(getattr(self, field.name)[chosen] for field in fields(self)[1:]),
        )

    def padded(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frames (len(chosen), longest, COEFFICIENTS), zero past a fragment's end, and which are heard."""
        lengths = self.frames[chosen]
        heard = np.arange(lengths.max()) < lengths[:, None]
        frames = np.zeros((*heard.shape, COEFFICIENTS), np.float32)
        starts = (np.cumsum(self.frames) - self.frames)[chosen]
        for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            frames[row, :length] = self.features[start : start + length]
        return frames, heard


def training_fragments(config: TrainingConfig, progress: Progress) -> Fragments:
    """`config.variants` random cuts of every clip."""

    def cuts(index: int, audio: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        rng = np.random.default_rng((config.seed, index))
        for _ in range(config.variants):
            yield "", sound.varied(audio, config, rng)

    return _cached("training", config, cuts, progress)


def test_fragments(config: TrainingConfig, progress: Progress) -> Fragments:
    """Every clip in all CONDITIONS: its middle so many seconds, all of it, and its middle in a room."""

    def cuts(index: int, audio: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        rng = np.random.default_rng((config.seed, index))
        for condition, seconds in LENGTHS.items():
            yield condition, _middle(audio, seconds)
        yield WHOLE, audio
        yield ROOM, sound.over_noise(sound.in_room(_middle(audio, 2.0), rng), ROOM_NOISE, rng)

    return _cached("test", config, cuts, progress)


def _middle(audio: np.ndarray, seconds: float) -> np.ndarray:
    start = max(0, len(audio) - round(seconds * SAMPLE_RATE)) // 2
    return audio[start : start + round(seconds * SAMPLE_RATE)]


def _cached(
    purpose: str,
    config: TrainingConfig,
    cuts: Callable[[int, np.ndarray], Iterator[tuple[str, np.ndarray]]],
    progress: Progress,
) -> Fragments:
    clips = list(CORPORA[config.corpus](config.corpus_root).clips())
    path = config.cache / f"{purpose}-{_fingerprint(config, clips)}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = _make(clips, config, cuts, progress.track(clips, description=f"features for {purpose}"))
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **{field.name: getattr(made, field.name) for field in fields(made)})
        partial.replace(path)
    with np.load(path) as stored:
        return Fragments(**stored)


def _make(
    clips: list[Clip],
    config: TrainingConfig,
    cuts: Callable[[int, np.ndarray], Iterator[tuple[str, np.ndarray]]],
    tracked: Iterable[Clip],
) -> Fragments:
    features, origins, conditions = [], [], []
    for index, clip in enumerate(tracked):
        for condition, audio in cuts(index, sound.speech(clip.path, config.margin)):
            features.append(mfcc(audio))
            origins.append(index)
            conditions.append(condition)
    of_clip = np.array(origins)
    return Fragments(
        np.concatenate(features),
        np.array([len(frames) for frames in features]),
        of_clip,
        np.array([EMOTIONS.index(clip.emotion) for clip in clips])[of_clip],
        np.array([clip.speaker for clip in clips])[of_clip],
        np.array(conditions),
    )


def _fingerprint(config: TrainingConfig, clips: list[Clip]) -> str:
    """A name for all that features depend on: the recipe, the files, the settings and the code that cuts."""
    recipe = config.model_dump(
        mode="json",
        include={
            "seed",
            "shortest",
            "longest",
            "margin",
            "variants",
            "speeds",
            "room_share",
            "noise_share",
            "noise",
        },
    )
    files = [(str(clip.path), clip.path.stat().st_size) for clip in clips]
    code = Path(sound.__file__).read_text()
    return hashlib.sha256(json.dumps([recipe, SETTINGS, files, code]).encode()).hexdigest()[:16]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras is not typed
    """An epoch: one cut of every clip, in batches of like length, so that little of a batch is padding."""

    def __init__(self, fragments: Fragments, config: TrainingConfig, seed: int) -> None:
        super().__init__()
        self._fragments = fragments
        self._config = config
        self._rng = np.random.default_rng(seed)
        self._cuts_of_clip = [np.flatnonzero(fragments.clips == clip) for clip in np.unique(fragments.clips)]
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._cuts_of_clip) // self._config.batch)

    def on_epoch_end(self) -> None:
        """Draw the next epoch's cuts."""
        cuts = np.array([self._rng.choice(cuts) for cuts in self._cuts_of_clip])
        near_its_length = self._fragments.frames[cuts] * self._rng.uniform(0.8, 1.25, len(cuts))
        self._batches = np.array_split(cuts[np.argsort(near_its_length)], len(self))
        self._rng.shuffle(self._batches)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        chosen = self._batches[index]
        frames, heard = self._fragments.padded(chosen)
        self._silence_spans(frames, heard)
        return {"frames": frames, "heard": heard}, np.eye(len(EMOTIONS), dtype=np.float32)[
            self._fragments.labels[chosen]
        ]

    def _silence_spans(self, frames: np.ndarray, heard: np.ndarray) -> None:
        """Put a fragment's mean in place of two short spans of it (SpecAugment, arXiv 1904.08779)."""
        for row, length in zip(frames, heard.sum(axis=1), strict=True):
            mean = row[:length].mean(axis=0)
            for _ in range(2):
                span = self._rng.integers(self._config.longest_gap + 1)
                start = self._rng.integers(max(1, length - span))
                row[start : min(length, start + span)] = mean
