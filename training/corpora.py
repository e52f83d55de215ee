"""Corpora of emotional speech: each a folder on disk, and a rule that says what its file names mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

DATA_VARIABLE = "TONETRACK_DATA"


def default_data() -> Path:
    """The folder that holds the corpora: `$TONETRACK_DATA`, or `../shared/data` beside the project."""
    return Path(os.environ.get(DATA_VARIABLE) or Path(__file__).parents[2] / "shared" / "data")


@dataclass(frozen=True, slots=True)
class Clip:
    """One recorded utterance by one speaker in one emotion."""

    path: Path
    speaker: str
    emotion: str


class Corpus(Protocol):
    """Labelled speech. To train on another corpus, write one of these and add it to `CORPORA`."""

    name: str
    licence: str

    def __init__(self, root: Path) -> None: ...

    def clips(self) -> Iterator[Clip]:
        """Every clip, always in the same order."""
        ...


class Ravdess:
    """RAVDESS, speech only: 24 actors, two sentences, eight emotions (doi 10.1371/journal.pone.0196391).

    A file is `Actor_NN/03-01-EE-II-SS-RR-AA.flac` (or .wav, as published): EE emotion, II intensity, SS
    sentence, RR repetition, AA actor (odd male, even female).
    """

    name = "ravdess"
    licence = "CC BY-NC-SA 4.0"
    emotion_of_code: ClassVar = {
        "01": "neutral",
        "02": "calm",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fear",
        "07": "disgust",
        "08": "surprise",
    }

    def __init__(self, root: Path) -> None:
        self.root = root

    def clips(self) -> Iterator[Clip]:
        """Every clip, by actor and file name."""
        paths = sorted(path for path in self.root.glob("Actor_*/03-01-*") if path.suffix in {".flac", ".wav"})
        if not paths:
            raise FileNotFoundError(f"no RAVDESS speech (Actor_NN/03-01-*.flac or .wav) under {self.root}")
        for path in paths:
            code = path.stem.split("-")
            yield Clip(path, speaker=code[6], emotion=self.emotion_of_code[code[2]])


CORPORA: dict[str, type[Corpus]] = {Ravdess.name: Ravdess}
