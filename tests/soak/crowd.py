"""People who talk for minutes each, one session after another, whom somebody watches, and uploads now and then."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final

import httpx
import numpy as np

from deployments.cadence import MOST
from deployments.client import Recorder, Session, open_session
from deployments.protocol import Close
from deployments.recorder import lag_of
from pipeline import tasks
from pipeline.timeline import HOP_SECONDS, SAMPLE_RATE
from tests.service import Pcm, Service, frames
from tests.uploads import upload, wav_of

SHORTEST, LONGEST = 60.0, 180.0  # s of a session
UPLOAD_EVERY, UPLOAD_SECONDS = 120.0, 60.0
AGAIN_SECONDS: Final = 5.0  # until somebody comes again who was not let in


class Crowd:
    """So many people who talk, one session after another."""

    def __init__(self, service: Service, pcm: Pcm, seed: int) -> None:
        self._service = service
        self._pcm = pcm
        self._random = random.Random(seed)
        self.lags: list[float] = []
        self.sessions = 0
        self.uploads = 0
        self.refused = 0
        self.missing = 0  # hops that were said and never told
        self.broken: list[str] = []  # why conversations and uploads ended before their time

    async def talk(self, until: float) -> None:
        """One after another, until an instant of `time.monotonic`."""
        await asyncio.sleep(self._random.uniform(0, SHORTEST / 2))
        while time.monotonic() < until:
            seconds = self._random.uniform(SHORTEST, LONGEST)
            start = self._random.randrange(len(self._pcm))
            await self._session(np.roll(self._pcm, -start)[: round(seconds * SAMPLE_RATE)])

    async def upload(self, until: float) -> None:
        """A recording now and then, which is erased once it is heard."""
        wav = wav_of(self._pcm[: round(UPLOAD_SECONDS * SAMPLE_RATE)])
        while time.monotonic() < until:
            try:
                recording = await upload(self._service.api, wav)
                await recording.heard()
                async with recording.client() as http:
                    (await http.delete("")).raise_for_status()
                self.uploads += 1
            except Exception as error:
                self.broken.append(f"an upload: {type(error).__name__}: {error}")
            await asyncio.sleep(UPLOAD_EVERY)

    async def _session(self, pcm: Pcm) -> None:
        try:
            lags = lags_of(await self._told(pcm))
        except Exception as error:  # one conversation's trouble, whatever it is, is not to end an hour's run
            self.broken.append(f"{type(error).__name__}: {error}")
            return
        self.lags += lags
        self.sessions += 1
        self.missing += max(0, hops_until(len(pcm) / SAMPLE_RATE) - len(lags))

    async def _told(self, pcm: Pcm) -> list[tuple[float, float]]:
        """Where each event of a conversation had heard until, and its lag, in seconds."""
        session = await self._opened()
        told: list[tuple[float, float]] = []

        async def watch() -> None:
            async for _, event in session.events():
                if (lag := lag_of(event)) is not None:
                    told.append((event.heard_until, lag))

        watching = asyncio.create_task(watch())
        try:
            recorder = Recorder(session)
            await recorder.record(said_to(recorder, pcm))
            self.refused += recorder.breaks.count(Close.BUSY)
            await watching
        finally:
            await tasks.end(watching)
        return told

    async def _opened(self) -> Session:
        while True:
            try:
                return await open_session(self._service.api, "research")
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 503:
                    raise
                self.refused += 1
                await asyncio.sleep(AGAIN_SECONDS)


async def said_to(recorder: Recorder, pcm: Pcm) -> AsyncIterator[bytes]:
    """Frames in real time, from when the recorder is let in."""
    await recorder.welcomed.wait()
    async for frame in frames(pcm, pace=1.0):
        yield frame


def hops_until(seconds: float) -> int:
    """How many hops there are up to a moment; the last may be a shorter one."""
    return math.ceil(round(seconds / HOP_SECONDS, 3))


def lags_of(told: Iterable[tuple[float, float]]) -> list[float]:
    """The lag of every hop that events told of, in seconds, from where each of these had heard until, and its lag.

    One tells of several hops where these were heard together: then the first has waited a hop longer than the second.
    More than MOST are never heard together, so what an event skips beyond that was lost.
    """
    lags: list[float] = []
    reached = 0
    for until, lag in told:
        together = hops_until(until) - reached
        reached += together
        lags += [lag + later * HOP_SECONDS for later in reversed(range(min(together, MOST)))]
    return lags
