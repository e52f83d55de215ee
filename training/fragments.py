"""The fragments that a model learns from and is tested on, as features, kept so that they are made once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import ray
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import Progress

from pipeline import features, functionals
from pipeline.features import MEL_BANDS, SETTINGS, features_of
from pipeline.timeline import EMOTIONS, SAMPLE_RATE
from training import augment, sound
from training.config import Training
from training.corpora import Clip, open_corpus
from training.sound import speech
from training.tasks import result_of

Audio = NDArray[np.float32]

LENGTHS: Final = {"1 s": 1.0, "1.5 s": 1.5, "2 s": 2.0, "3 s": 3.0}
WHOLE: Final = "whole"
ROBUSTNESS: Final = {f"2 s, {name}": change for name, change in augment.CONDITIONS.items()}
CONDITIONS: Final = (*LENGTHS, WHOLE, *ROBUSTNESS)
TRAINING: Final = "training"
CLIPS_A_TASK: Final = 10


@dataclass(frozen=True)
class Fragments:
    """n fragments of speech as features, with what is known of them; all arrays but `frames` have n rows."""

    frames: NDArray[np.float16]  # (sum of `lengths`, MEL_BANDS), one fragment after another
    lengths: NDArray[np.int64]  # frames of each
    functionals: NDArray[np.float32]  # (n, functionals.COUNT)
    seconds: NDArray[np.float32]
    clips: NDArray[np.int64]  # which clip each was cut from
    places: NDArray[np.int64]  # where it was heard: 0 as recorded
    conditions: NDArray[np.str_]  # one of CONDITIONS, or TRAINING
    labels: NDArray[np.int64]  # index into EMOTIONS
    speakers: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, chosen: NDArray[Any]) -> Fragments:
        """The fragments at `chosen`, indices or a mask of (n,)."""
        stops = np.cumsum(self.lengths)
        spans = zip((stops - self.lengths)[chosen], stops[chosen], strict=True)
        frames = [self.frames[start:stop] for start, stop in spans] or [self.frames[:0]]
        return Fragments(np.concatenate(frames), *(getattr(self, field.name)[chosen] for field in fields(self)[1:]))

    def starts(self) -> NDArray[np.int64]:
        """Where in `frames` each fragment begins."""
        return np.asarray(np.cumsum(self.lengths) - self.lengths)

    def padded(self, chosen: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The inputs of ToneNet for the fragments at some indices, as long as the longest of them."""
        lengths = self.lengths[chosen]
        heard = np.arange(lengths.max()) < lengths[:, None]
        frames = np.zeros((*heard.shape, MEL_BANDS), np.float32)
        for row, (start, length) in enumerate(zip(self.starts()[chosen], lengths, strict=True)):
            frames[row, :length] = self.frames[start : start + length]
        return {"frames": frames, "heard": heard, "functionals": self.functionals[chosen]}


@dataclass(frozen=True, slots=True)
class _Cut:
    """One stretch of a clip, as audio, and what is known of it."""

    audio: Audio
    place: int
    condition: str


def training_fragments(config: Training, clips: Sequence[Clip], progress: Progress) -> Fragments:
    """`config.fragments.cuts` random cuts of every clip in each of `config.fragments.places` places.

    One speaker is in one place at a time: all of a speaker's clips in a place are heard in the same room, through the
    same microphone and line, for that is what a session sounds like and what `SpeakerBaseline` gets used to.
    """
    return _cached(TRAINING, config, clips, _training_cuts, progress)


def test_fragments(config: Training, clips: Sequence[Clip], progress: Progress) -> Fragments:
    """Every clip in all CONDITIONS: its middle so many seconds, all of it, and its middle 2 s in adverse ones."""
    return _cached("test", config, clips, _test_cuts, progress)


test_fragments.__test__ = False  # type: ignore[attr-defined]  # for pytest, whose naming this meets by chance


def clips_of(config: Training) -> list[Clip]:
    """The clips of the corpus that the recipe names."""
    return list(open_corpus(config.corpus, config.corpus_root).clips())


def _training_cuts(config: Training, index: int, speaker: int, audio: Audio) -> Iterator[_Cut]:
    for place in range(config.fragments.places):
        here = np.random.default_rng((config.seed, 1, speaker, place))
        heard = augment.varied(audio, config.augmentation, here) if place else audio
        rng = np.random.default_rng((config.seed, 2, index, place))
        for _ in range(config.fragments.cuts):
            yield _Cut(_random_cut(heard, config, rng), place, TRAINING)


def _test_cuts(config: Training, index: int, speaker: int, audio: Audio) -> Iterator[_Cut]:
    for condition, seconds in LENGTHS.items():
        yield _Cut(_middle(audio, seconds), 0, condition)
    yield _Cut(audio, 0, WHOLE)
    for place, (condition, change) in enumerate(ROBUSTNESS.items(), start=1):
        here = np.random.default_rng((config.seed, 3, speaker, place))
        yield _Cut(change(_middle(audio, 2.0), here), place, condition)


def _random_cut(audio: Audio, config: Training, rng: Generator) -> Audio:
    """A stretch of random length and place; of audio shorter than that length, all of it."""
    samples = round(rng.uniform(config.fragments.shortest, config.fragments.longest) * SAMPLE_RATE)
    start = rng.integers(max(1, len(audio) - samples + 1))
    return audio[start : start + samples]


def _middle(audio: Audio, seconds: float) -> Audio:
    start = max(0, len(audio) - round(seconds * SAMPLE_RATE)) // 2
    return audio[start : start + round(seconds * SAMPLE_RATE)]


Cutter = Callable[[Training, int, int, Audio], Iterator[_Cut]]


def _cached(purpose: str, config: Training, clips: Sequence[Clip], cutter: Cutter, progress: Progress) -> Fragments:
    path = config.runs / "features" / f"{purpose}-{fingerprint(config, clips)}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = _make(purpose, config, clips, cutter, progress)
        partial = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(partial, **{field.name: getattr(made, field.name) for field in fields(made)})
        partial.replace(path)
    with np.load(path) as stored:
        return Fragments(**stored)


def _make(purpose: str, config: Training, clips: Sequence[Clip], cutter: Cutter, progress: Progress) -> Fragments:
    """The fragments of all clips, made by Ray tasks, ten clips each."""
    speakers = sorted({clip.speaker for clip in clips})
    task = ray.remote(num_cpus=1)(_features_of_clips)
    numbered = [(index, speakers.index(clip.speaker), clip) for index, clip in enumerate(clips)]
    parts = [
        task.remote(config, numbered[start : start + CLIPS_A_TASK], cutter)
        for start in range(0, len(clips), CLIPS_A_TASK)
    ]
    rows = [row for part in progress.track(parts, description=f"features for {purpose}") for row in result_of(part)]
    frames, numbers, seconds, of_clip, places, conditions = zip(*rows, strict=True)
    origins = np.array(of_clip)
    return Fragments(
        np.concatenate(frames),
        np.array([len(frame) for frame in frames]),
        np.stack(numbers),
        np.array(seconds, np.float32),
        origins,
        np.array(places),
        np.array(conditions),
        np.array([EMOTIONS.index(clip.emotion) for clip in clips])[origins],
        np.array([clip.speaker for clip in clips])[origins],
    )


def _features_of_clips(
    config: Training, clips: Sequence[tuple[int, int, Clip]], cutter: Cutter
) -> list[tuple[Any, ...]]:
    """For each cut its frames, functionals, seconds, clip, place and condition."""
    rows = []
    for index, speaker, clip in clips:
        for cut in cutter(config, index, speaker, speech(clip.path, config.fragments.margin)):
            heard = features_of(cut.audio)
            seconds = len(cut.audio) / SAMPLE_RATE
            frames = heard.frames.astype(np.float16)
            rows.append((frames, heard.functionals, seconds, index, cut.place, cut.condition))
    return rows


def fingerprint(config: Training, clips: Sequence[Clip]) -> str:
    """A name for all that features depend on: the recipe, the files, the settings and the code that makes them."""
    recipe = config.model_dump(mode="json", include={"seed", "fragments", "augmentation"})
    files = [(str(clip.path), clip.emotion, clip.speaker, clip.path.stat().st_size) for clip in clips]
    modules = [module.__file__ or "" for module in (augment, sound, features, functionals)]
    code = [Path(path).read_text() for path in (*modules, __file__)]
    return hashlib.sha256(json.dumps([recipe, SETTINGS, files, code]).encode()).hexdigest()[:16]
