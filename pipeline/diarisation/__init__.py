"""Who speaks: what a diariser is given, what it answers, and the protocol that every diariser follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.speech import Island, SpeechState


@dataclass(frozen=True, slots=True)
class DiariserState:
    """What a diariser remembers of a conversation between hops; `cut`: sample up to which units have been cut."""

    speech: SpeechState = field(default_factory=SpeechState.fresh)
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a diariser hears at a hop: int16 samples (n,), the newest last, the first being sample `start`.

    `hops`: how many are heard together, for a machine is full.
    """

    audio: NDArray[np.int16]
    start: int
    state: DiariserState
    hops: int = 1


@dataclass(frozen=True, slots=True)
class Unit:
    """At most 0.5 s of speech that gets one speaker, in samples of the conversation.

    `voiceprint`: unit-length float16 (SIZE,), see `pipeline.voiceprint`, of the window [window, end), which holds the
    unit and what the same island said before it, or that of the next unit, where hops are heard together; None where
    there was too little to tell. `overlap`: first and last
    sample of the stretch of it in which somebody else talks, too, if there is one.
    """

    start: int
    end: int
    window: int
    voiceprint: NDArray[np.float16] | None
    overlap: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What a diariser heard at a hop: the islands touched, the units completed, and the state to go on from."""

    islands: list[Island]
    units: list[Unit]
    state: DiariserState

    @property
    def going_on(self) -> int:
        """Sample up to which the newest unit's speech goes on, though it is no unit yet; 0 where it does not."""
        newest = self.islands[-1] if self.islands else None
        return newest.end if newest and newest.open and newest.start < self.state.cut else 0


class Diariser(Protocol):
    """Observes hops of many conversations at once; keeps nothing between calls."""

    def observe(self, stretches: Sequence[Stretch]) -> list[Observation]:
        """One observation a stretch, in order; none depends on the others."""
        ...
