"""A worker that hears uploaded recordings in this process, with the real diariser and the real stores, and no queue."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from deployments.loop import Loop
from deployments.recordings import RecordingWorker, _open_stores
from deployments.second_opinion import SecondOpinion
from deployments.settings import Settings
from pipeline.blobs import Blobs
from pipeline.diarisation.local import LocalDiariser
from pipeline.emotion import EmotionHead
from pipeline.events import Event
from pipeline.hearing import Ears
from pipeline.job import Job
from pipeline.segments import units_of
from tests.pipeline.jobs.recordings import create
from tests.service import Pcm
from tests.uploads import wav_of


def embed(fragments: Sequence[Pcm]) -> list[np.ndarray]:
    """What stands in for the emotion model where it does not matter."""
    size = EmotionHead.load().size
    return [np.resize(fragment[:50], size).astype(np.float32) / 32_768 for fragment in fragments]


class Hearer:
    """What is uploaded to it is heard when it is told to."""

    def __init__(self, url: str, blobs: Path, diariser: LocalDiariser, /, **settings: Any) -> None:
        self.worker = worker = RecordingWorker.__new__(RecordingWorker)
        worker._settings = Settings(redis_url=url, **settings)
        worker._head = EmotionHead.load()
        worker._blobs = Blobs(str(blobs))
        worker._ears = Ears(lambda segment: units_of(diariser, segment), embed)
        worker._second = SecondOpinion(worker._settings)
        worker._loop = Loop("recordings")
        worker._jobs, worker._work, worker._webhooks = worker._loop.run(_open_stores(worker._settings))

    async def upload(self, pcm: Pcm, **said: Any) -> str:
        """Take in int16 samples (n,); the recording's id."""
        return await asyncio.to_thread(self._upload, pcm, said)

    async def hear(self, recording: str) -> tuple[Job, list[Event]]:
        """Hear it to its end, as a worker that has not seen it before; the job, and what is published of it."""
        return await asyncio.to_thread(self._hear, recording)

    def close(self) -> None:
        """Close the connection to Google."""
        self.worker._loop.run(self.worker._second.close())

    def _upload(self, pcm: Pcm, said: dict[str, Any]) -> str:
        recording = secrets.token_hex(8)
        with self.worker._blobs.write(recording) as file:
            file.write(wav_of(pcm))
        self.worker._loop.run(create(self.worker._jobs, recording, **said))
        return recording

    def _hear(self, recording: str) -> tuple[Job, list[Event]]:
        self.worker._attend(recording, secrets.token_hex(8))
        job = self.worker._loop.run(self.worker._jobs.job(recording))
        return job, [event for _, event in self.worker._loop.run(self.worker._work._sessions.events(recording))]


@contextmanager
def hearing(url: str, blobs: Path, diariser: LocalDiariser, /, **settings: Any) -> Iterator[Hearer]:
    """A hearer, until its connections are closed."""
    hearer = Hearer(url, blobs, diariser, **settings)
    try:
        yield hearer
    finally:
        hearer.close()
