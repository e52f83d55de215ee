"""Fragments: the stretches of one speaker that the emotion model hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.timeline import HOP_SECONDS, Turn

LONGEST: Final = 3.0  # s; more speech than this dulls a change of tone
SHORTEST: Final = 0.5  # s; less tells next to nothing
CRUMB: Final = 0.1  # s; a turn's last bit that is not worth a reading of its own


@dataclass(frozen=True, slots=True)
class Fragment:
    """What is newly said, [start, end), and from where on the model hears it: the turn so far, at most LONGEST."""

    turn: int
    start: float
    end: float
    heard_from: float


@dataclass(frozen=True, slots=True)
class Impression:
    """What the emotion model says of a fragment. `probabilities` follow `pipeline.timeline.EMOTIONS`."""

    probabilities: tuple[float, ...]
    label: str
    valence: float
    arousal: float
    model: str


def unread(turns: Sequence[Turn], read_until: float, over: bool) -> list[Fragment]:
    """Fragments for the speech after `read_until` (seconds), at most one a turn, in order of time.

    A turn that goes on is read a hop at a time. One that ended is read to its end: all turns but the last, and the
    last where `over` says so.
    """
    fragments = []
    for turn in turns:
        start = max(turn.start, read_until)
        heard_from = max(turn.start, turn.end - LONGEST)
        due = CRUMB if over or turn is not turns[-1] else HOP_SECONDS
        if turn.end - start >= due - 1e-6 and turn.end - heard_from >= SHORTEST - 1e-6:
            fragments.append(Fragment(turn.id, start, turn.end, heard_from))
    return fragments
