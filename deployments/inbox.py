"""Where recordings come in: their sound goes to the blob store as it arrives, and they to the queue."""

from __future__ import annotations

import asyncio
import threading
from functools import cached_property
from typing import BinaryIO, cast

from ray.serve.schema import TaskProcessorAdapter
from ray.serve.task_consumer import instantiate_adapter_from_config

from deployments.queue import TASK, queue_config
from deployments.sessions import open_store
from deployments.settings import Settings
from deployments.webhooks import announce
from pipeline.blobs import Blobs
from pipeline.idempotency import Given, claim_key
from pipeline.job import RecordingRequest, Upload
from pipeline.jobs import ABSENT, JobStore
from pipeline.media import probe
from pipeline.media.undecodable import undecodable
from pipeline.store import connect
from pipeline.webhooks import WebhookStore


class Inbox:
    """The stores of recordings and the way into the queue, for the routes of a replica."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self.redis = connect(settings.redis_address)
        self.sessions = open_store(settings)
        self.jobs = JobStore(self.redis, self.sessions, settings.retention)
        self.webhooks = WebhookStore(self.redis)

    @cached_property
    def blobs(self) -> Blobs:
        """Raises `pipeline.blobs.BlobTrouble`."""
        return Blobs(self._settings.blob_url)

    async def full(self) -> bool:
        """Whether too many recordings wait."""
        waiting, _ = await self.jobs.workload()
        return waiting >= self._settings.max_queued

    def examine(self, recording: str, attempt: str, name: str) -> Upload:
        """What an attempt to upload has brought, by its content; `name` is its sender's. A thread's work.

        Raises `UndecodableAudio`, and `pipeline.blobs.BlobTrouble`.
        """
        with self.blobs.read(recording, attempt) as file:
            try:
                found = probe(cast(BinaryIO, file))
            finally:
                if file.trouble:  # whatever was made of it
                    raise file.trouble
        most = self._settings.max_recording_seconds
        if found.seconds is not None and found.seconds > most:
            length, longest = (f"{seconds / 60:.0f} minutes" for seconds in (found.seconds, most))
            raise undecodable(f"This recording has {length}, and {longest} are the most that is taken", "too_long")
        size = self.blobs.size(recording, attempt)
        return Upload(
            file=name, bytes=size, media_type=found.media_type, seconds=found.seconds, channels=found.channels
        )

    async def take_in(self, given: Given, request: RecordingRequest, upload: Upload, key: str) -> None:
        """Make a job of what came and put it into the queue; `key`: the one that opens all that is its owner's.

        Raises `pipeline.job.Superseded` where another attempt to upload it was taken in.
        """
        await self.jobs.create(given.id, request, upload, key, given.viewer_key, given.webhook_secret)
        await self.enqueue(given.id)

    async def enqueue(self, recording: str) -> None:
        """Put a job into the queue. Should this fail, a worker finds that it was forgotten."""
        await asyncio.to_thread(self._enqueue, recording)
        await self.jobs.enqueued(recording)

    async def conclude(self, recording: str) -> None:
        """A recording was cancelled before anybody heard it: its sound goes, and whoever uploaded it is told."""
        await asyncio.to_thread(self.blobs.erase, recording)
        await self.jobs.without_sound(recording)
        job = await self.jobs.job(recording)
        await announce(job, self.jobs, self.webhooks, self._settings.retention)

    async def erase(self, recording: str) -> None:
        """Leave nothing of a recording. Its job goes after the sound: without it nobody could ask for that again.

        Raises `pipeline.blobs.BlobTrouble`.
        """
        await asyncio.to_thread(self.blobs.erase, recording)
        # An attempt to upload it that has fallen silent must learn that it is late, as long as it may come back.
        await self.redis.pexpire(claim_key(recording), round(ABSENT * 1000))
        await self.jobs.erase(recording)
        await self.webhooks.erase(recording)
        await self.jobs.without_sound(recording)

    def _enqueue(self, recording: str) -> None:
        with self._opening:
            self._queue.enqueue_task_sync(TASK, [recording])

    @cached_property
    def _queue(self) -> TaskProcessorAdapter:
        return instantiate_adapter_from_config(queue_config(self._settings))
