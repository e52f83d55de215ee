"""What workers write of uploaded recordings while they hear them, and what they find left undone.

Where in Redis that is, `pipeline.jobs` tells.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from pipeline.events import Event
from pipeline.job import RUNNING, WAITING, Cancelled, State, Superseded, UnknownRecording
from pipeline.jobs import ABSENT, ARRIVING, BLOBS, JobStore
from pipeline.published import SCRIPTS, session_key
from pipeline.store import HINTS, SessionStore


class Work:
    """The work on jobs. `tries`: how often one is begun without getting further before it is given up."""

    def __init__(self, redis: Redis, sessions: SessionStore, jobs: JobStore, tries: int = 3) -> None:
        self._redis: Any = redis
        self._sessions = sessions
        self._jobs = jobs
        self._tries = tries
        self._begin, self._report, self._note, self._adopt, self._settle, self._lost = (
            redis.register_script((SCRIPTS / f"job_{name}.lua").read_text())
            for name in ("begin", "report", "note", "adopt", "settle", "lost")
        )

    # Hearing

    async def begin(self, recording: str, worker: str) -> str:
        """Hold a recording as `worker`, a token of its own; returns what to do, see `job_begin.lua`."""
        args: list[float | str] = [worker, time.time(), self._tries]
        answer = (await self._begin(keys=[session_key(recording, "job")], args=args)).decode()
        await self._redis.zrem(WAITING, recording)
        if answer in ("go on", "cancel", "give up"):
            await self._jobs.enlist(RUNNING, recording, time.time())
        else:
            await self._jobs.settled(recording)  # whoever settled it may have died before this
        return str(answer)

    async def report(self, recording: str, worker: str, further: bool = False, **fields: float | str) -> None:
        """Write down how far a recording is, which is a sign of life, too.

        `further`: it got further than ever. Raises `Cancelled`, `Superseded` and `UnknownRecording`.
        """
        told = [part for name, value in fields.items() for part in (name, value)]
        outcome = await self._report(keys=[session_key(recording, "job")], args=[worker, int(further), *told])
        _check(recording, outcome)
        await self._jobs.enlist(RUNNING, recording, time.time())

    async def note(self, recording: str, worker: str, key: str, value: bytes) -> None:
        """Keep what was heard of a segment, while the recording is the worker's."""
        keys = [session_key(recording, "job"), session_key(recording, "notes")]
        await self._note(keys=keys, args=[worker, key, value, self._jobs.waiting_ms])

    async def noted(self, recording: str, key: str) -> bytes | None:
        """What was heard of a segment, or None."""
        value: bytes | None = await self._redis.hget(session_key(recording, "notes"), key)
        return value

    async def adopt(self, recording: str, seconds: float, models: str) -> None:
        """Make a recording of so many seconds, heard by such models, a session.

        Nothing of it is shown before the job is done, so that what other models had begun to publish can go.
        """
        job = await self._jobs.job(recording)
        known = job.model_dump(include={"name", "purpose", "remark", "created_at", *HINTS}, exclude_none=True)
        known |= {"consent_version": job.consent.version} if job.consent else {}
        known |= {"stopped": job.created_at, "ended": seconds}  # from the beginning, so that nobody can add to it
        told = [part for name, value in known.items() for part in (name, value)]
        keys = [session_key(recording), session_key(recording, "job"), session_key(recording, "events")]
        _check(recording, await self._adopt(keys=keys, args=[self._jobs.retention_ms, models, *told]))

    async def publish(self, recording: str, number: int, events: Sequence[Event]) -> None:
        """Publish a piece of what was heard, see `Heard.told`: once, however often that piece is published."""
        await self._sessions.publish(recording, number, events)

    async def settle(self, recording: str, worker: str, state: State, **fields: float | str) -> None:
        """End a job. Raises `Cancelled`, `Superseded` and `UnknownRecording`."""
        told = [part for name, value in fields.items() for part in (name, value)]
        args: list[float | str] = [worker, state.value, time.time(), self._jobs.retention_ms, *told]
        outcome = await self._settle(keys=[session_key(recording, "job")], args=args)
        _check(recording, outcome)
        await self._jobs.settled(recording)

    # Left undone

    async def lost(self, older_than: float) -> list[str]:
        """Take recordings from workers that have given no sign of life for so many seconds; they wait again.

        The queue is still to be told of them: see `JobStore.enqueued`.
        """
        waiting = []
        for entry in await self._redis.zrangebyscore(RUNNING, "-inf", time.time() - older_than):
            recording = entry.decode()
            if await self._lost(keys=[session_key(recording, "job")]) == b"ok":
                await self._jobs.enlist(WAITING, recording, time.time())
                waiting.append(recording)
            await self._redis.zrem(RUNNING, recording)
        return waiting

    async def not_enqueued(self, older_than: float) -> list[str]:
        """Recordings that have waited for so many seconds without the queue having been told of them."""
        waiting = await self._redis.zrangebyscore(WAITING, "-inf", time.time() - older_than)
        async with self._redis.pipeline(transaction=False) as asked:
            for recording in waiting:
                asked.hmget(session_key(recording.decode(), "job"), ["state", "enqueued"])
            known = await asked.execute()
        standing = {recording.decode(): told for recording, told in zip(waiting, known, strict=True)}
        queued = State.QUEUED.value.encode()
        if gone := [recording for recording, (state, _) in standing.items() if state != queued]:
            await self._redis.zrem(WAITING, *gone)
        return [recording for recording, (state, enqueued) in standing.items() if state == queued and not enqueued]

    async def due_blobs(self) -> list[str]:
        """Recordings whose sound has to go: its time is over, or there is no such recording any more."""
        now, due = time.time(), []
        await self._redis.zremrangebyscore(ARRIVING, "-inf", now - ABSENT)
        for entry, erase_at in await self._redis.zrange(BLOBS, 0, -1, withscores=True):
            recording = entry.decode()
            # Asked in this order: what arrives becomes a job first, and only then arrives no more.
            arrives = await self._redis.zscore(ARRIVING, entry) is not None
            wanted = arrives or await self._redis.exists(session_key(recording, "job"))
            if erase_at <= now or not wanted:
                due.append(recording)
        return due


def _check(recording: str, outcome: bytes) -> None:
    match outcome:
        case b"unknown":
            raise UnknownRecording(recording)
        case b"superseded":
            raise Superseded(recording)
        case b"cancel":
            raise Cancelled(recording)
