"""Recordings as the tests of their store make, end and look for them."""

from __future__ import annotations

from typing import Any

from pipeline import jobs as module
from pipeline.job import Job, RecordingRequest, State, Upload
from pipeline.jobs import JobStore
from pipeline.recording import Heard
from pipeline.timeline import Turn
from pipeline.work import Work

ONE, TWO, THREE = "1" * 16, "2" * 16, "3" * 16
UPLOAD = Upload(file="talk.m4a", bytes=1_000, media_type="audio/mp4", seconds=12.5, channels=2)
RETENTION, PATIENCE = 600.0, module.PATIENCE


async def create(jobs: JobStore, recording: str = ONE, key: str = "mine", **said: Any) -> Job:
    request = RecordingRequest(purpose="research", consent=True, **said)
    await jobs.arriving(recording)
    await jobs.create(recording, request, UPLOAD, key, f"view-{recording}", "whsec_secret")
    await jobs.enqueued(recording)
    return await jobs.job(recording)


async def settled(work: Work, recording: str, state: State, **fields: Any) -> None:
    assert await work.begin(recording, "w") in ("go on", "give up")
    await work.settle(recording, "w", state, **fields)


async def publish(work: Work, recording: str, seconds: float = 12.5, models: str = "models", speaker: int = 1) -> None:
    await work.adopt(recording, seconds, models)
    turn = Turn(id=0, speaker=speaker, start=1.0, end=2.0, final=True)
    for number, events in enumerate(Heard(seconds, [turn], [], iter([])).told("research")):
        await work.publish(recording, number, events)


async def keys_of(redis: Any, recording: str) -> set[str]:
    """Every key that names a recording or lists it, whatever its type."""
    found = set()
    async for key in redis.scan_iter():
        name, kind = key.decode(), await redis.type(key)
        members = await redis.zrange(key, 0, -1) if kind == b"zset" else []
        if recording in name or recording.encode() in members:
            found.add(name)
    return found
