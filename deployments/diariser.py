"""Who speaks, as a deployment: the local diariser behind a handle. It keeps nothing between calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.diarisation import Observation, Stretch
from pipeline.diarisation.local import LocalDiariser
from pipeline.enrolment import enrol, version


class Diariser:
    """Observes hops of many sessions in one call; the voiceprints of all of them are encoded together."""

    def __init__(self) -> None:
        self._diariser = LocalDiariser()
        self._diariser.warm_up()
        self._enrolling = asyncio.Semaphore(1)

    async def observe(self, stretches: Sequence[Stretch]) -> list[Observation]:
        """One observation a stretch, in order."""
        return self._diariser.observe(stretches)

    async def enrol(self, audio: NDArray[np.int16]) -> tuple[NDArray[np.float32], float, str]:
        """The voiceprint (SIZE,) of int16 (n,), mono at 16 kHz, the seconds of speech in it, the voiceprint's version.

        One at a time and in a thread, for live sessions wait for their hops meanwhile. Raises `CannotEnrol`.
        """
        async with self._enrolling:
            voiceprint, seconds = await asyncio.to_thread(enrol, audio, self._diariser)
        return voiceprint, seconds, version()
