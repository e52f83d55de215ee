"""Small stand-ins for what training takes hours to make: corpora of tones, fragments and answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from pipeline.features import MEL_BANDS
from pipeline.functionals import COUNT
from pipeline.timeline import EMOTIONS
from training.config import ToneNetRecipe
from training.corpora import Ravdess
from training.crossvalidation import Answers
from training.fragments import CONDITIONS, TRAINING, Fragments

RATE = 24_000  # Hz, as RAVDESS is shared
TINY = ToneNetRecipe(
    channels=(4, 4, 4, 4),
    temporal=8,
    embedding=8,
    projection=8,
    dropout=0,
    functional_dropout=0,
    head_noise=0,
    speakers=2,
    clips=4,
    lengths=(0.5,),
    masks=0,
    epochs=2,
    members=1,
)


def tone(pitch: float, seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    """A tone with harmonics: (seconds * rate,)."""
    time = np.arange(round(seconds * rate)) / rate
    return sum(0.1 * np.sin(2 * np.pi * pitch * h * time) / h for h in range(1, 8)).astype(np.float32)


def pitch_of(emotion: str) -> float:
    """Hz; a third between one emotion and the next."""
    return 90 * 1.25 ** EMOTIONS.index(emotion)


def write_clip(root: Path, actor: str, emotion: str, repetition: int, pitch: float, seconds: float) -> Path:
    """A tone between silences, named and placed as in RAVDESS."""
    code = next(code for code, name in Ravdess.emotion_of_code.items() if name == emotion)
    path = root / f"Actor_{actor}" / f"03-01-{code}-01-01-{repetition:02d}-{actor}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    silence = np.zeros(RATE // 4, np.float32)
    soundfile.write(path, np.concatenate([silence, tone(pitch, seconds), silence]), RATE)
    return path


def fragments(speakers: Iterable[str] = ("a", "b"), places: int = 2, clips: int = 4, cuts: int = 2) -> Fragments:
    """Cuts of `clips` clips of each speaker in each place, as training hears them.

    The first functional is a fragment's own number, and all its frames hold that number plus 1; the second functional
    tells its emotion.
    """
    rows = [
        (speaker, place, clip)
        for number, speaker in enumerate(speakers)
        for clip in range(number * clips, (number + 1) * clips)
        for place in range(places)
        for _ in range(cuts)
    ]
    rng = np.random.default_rng(1)
    lengths = rng.integers(20, 60, len(rows))
    functionals = rng.standard_normal((len(rows), COUNT)).astype(np.float32)
    labels = np.array([clip % len(EMOTIONS) for _, _, clip in rows])
    functionals[:, 0] = np.arange(len(rows))
    functionals[:, 1] = labels
    return Fragments(
        np.repeat(np.arange(len(rows)) + 1, lengths)[:, None].repeat(MEL_BANDS, axis=1).astype(np.float16),
        lengths,
        functionals,
        (lengths / 40).astype(np.float32),
        np.array([clip for _, _, clip in rows]),
        np.array([place for _, place, _ in rows]),
        np.array([TRAINING] * len(rows)),
        labels,
        np.array([speaker for speaker, _, _ in rows]),
    )


def answers(speakers: Iterable[str] = ("a", "b", "c", "d"), sure: float = 2.0, seed: int = 1) -> Answers:
    """Answers for three clips in every emotion by every speaker in every condition, right about half of the time."""
    rows = [
        (condition, label, speaker, 3 * label + clip)
        for condition in CONDITIONS
        for speaker in speakers
        for label in range(len(EMOTIONS))
        for clip in range(3)
    ]
    conditions, labels, names, clips = (np.array(column) for column in zip(*rows, strict=True))
    rng = np.random.default_rng(seed)
    alone, causal, full = (
        (rng.standard_normal((len(rows), len(EMOTIONS))) + sure * np.eye(len(EMOTIONS))[labels]).astype(np.float32)
        for _ in range(3)
    )
    trust = rng.uniform(0, 0.8, len(rows)).astype(np.float32)
    return Answers(conditions, labels, names, clips, alone, causal, full, trust, np.full(len(rows), 0.8, np.float32))
