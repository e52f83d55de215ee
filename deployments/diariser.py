"""Who speaks, as a deployment: the local diariser behind a handle. It keeps nothing between calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deployments.aside import Aside
from deployments.metrics import BATCHES
from deployments.settings import Settings
from pipeline.diarisation import Observation, Stretch, Unit
from pipeline.diarisation.local import LocalDiariser
from pipeline.enrolment import enrol, version
from pipeline.hearing import Segment
from pipeline.logs import speak
from pipeline.segments import units_of

THREADS: Final = 2  # that hear live sessions: their networks, which take nearly all of the time, run side by side


class Diariser:
    """Observes hops of many sessions in one call, and a few calls at once.

    Recordings are heard aside, so that nobody who talks has to wait for them.
    """

    def __init__(self, settings: Settings) -> None:
        speak("diariser", settings.log_format, settings.log_level)
        self._diariser = LocalDiariser()
        self._diariser.warm_up()
        self._live = ThreadPoolExecutor(THREADS, "live")
        self._enrolling = asyncio.Semaphore(1)
        self._aside = Aside(threads=2)  # decoding and hearing a recording take two cores, if nobody else wants them

    async def observe(self, stretches: Sequence[Stretch]) -> list[Observation]:
        """One observation a stretch, in order."""
        BATCHES.observe(len(stretches), {"model": "diariser"})
        return await asyncio.get_running_loop().run_in_executor(self._live, self._diariser.observe, stretches)

    async def hear(self, segment: Segment) -> list[Unit]:
        """The units of a segment of a recording; see `pipeline.segments.units_of`."""
        return await self._aside(units_of, self._diariser, segment)

    async def enrol(self, audio: NDArray[np.int16]) -> tuple[NDArray[np.float32], float, str]:
        """The voiceprint (SIZE,) of int16 (n,), mono at 16 kHz, the seconds of speech in it, the voiceprint's version.

        One at a time and in a thread, for live sessions wait for their hops meanwhile. Raises `CannotEnrol`.
        """
        async with self._enrolling:
            voiceprint, seconds = await asyncio.to_thread(enrol, audio, self._diariser)
        return voiceprint, seconds, version()
