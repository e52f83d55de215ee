"""Uploaded recordings in Redis, from the first byte to the day on which they are erased.

    tonetrack:{ID}:job              hash    what was asked, how far it is, hashed keys, which worker holds it
    tonetrack:{ID}:notes            hash    what has been heard of it so far, by segment; gone at the end
    tonetrack:jobs:waiting          zset    recordings by their place in the queue
    tonetrack:jobs:running          zset    recordings by the Unix second of their worker's last sign of life
    tonetrack:jobs:dead             zset    recordings that were given up, by when
    tonetrack:jobs:blobs            zset    recordings with sound in the blob store, by when it is erased at the latest
    tonetrack:jobs:arriving         zset    recordings whose sound is on its way, by when it last got further
    tonetrack:owner:OWNER           zset    recordings of one owner (`pipeline.owners`), by when they came
    tonetrack:owner-known:OWNER     string  there as long as an owner is known, whether they have any or not

Only the first two belong to a recording and share its hash slot; the others are lists of what is there, which whoever
reads them checks against the recordings themselves. What workers write of a recording while they hear it is
`pipeline.work`'s. Once it is heard it is a session as well, with the same id and keys, which has ended
(`pipeline.store`).
"""

from __future__ import annotations

import time
from typing import Any, Final

from redis.asyncio import Redis

from pipeline.consent import consent_to
from pipeline.job import (
    PATIENCE,
    RUNNING,
    WAITING,
    Job,
    RecordingRequest,
    State,
    Superseded,
    UnknownRecording,
    Upload,
)
from pipeline.keys import digest, same
from pipeline.owners import Owners
from pipeline.published import SCRIPTS, session_key
from pipeline.quotas import Quotas
from pipeline.session import Role, Voice
from pipeline.store import SessionStore, memory_ratio

DEAD: Final = "tonetrack:jobs:dead"
BLOBS: Final = "tonetrack:jobs:blobs"
ARRIVING: Final = "tonetrack:jobs:arriving"
ABSENT: Final = 120.0  # s without a byte after which nobody is uploading any more


def owner_key(owner: str) -> str:
    """Where in Redis an owner's recordings are."""
    return f"tonetrack:owner:{owner}"


def known_key(owner: str) -> str:
    """What is there in Redis as long as an owner is known."""
    return f"tonetrack:owner-known:{owner}"


class JobStore:
    """Jobs in Redis, and the sessions that they become.

    `retention`: seconds after which a recording is erased, counted from when it is over.
    """

    def __init__(self, redis: Redis, sessions: SessionStore, retention: float) -> None:
        self._redis: Any = redis
        self._quotas = Quotas(redis)
        self._owners = Owners(redis, retention)
        self._sessions = sessions
        self.retention_ms = round(retention * 1000)  # once it is over
        self.waiting_ms = round((retention + PATIENCE) * 1000)  # before
        self._longest_ms = self.waiting_ms + self.retention_ms
        self._cancel, self._retry, self._mark = (
            redis.register_script((SCRIPTS / f"job_{name}.lua").read_text()) for name in ("cancel", "retry", "mark")
        )
        self._create = redis.register_script((SCRIPTS / "upload_create.lua").read_text())

    # Coming in

    async def arriving(self, recording: str) -> None:
        """More of a recording's sound has come; should nobody come back with the rest, it goes."""
        now = time.time()
        await self._redis.zadd(ARRIVING, {recording: now})
        await self._redis.zadd(BLOBS, {recording: now + self.waiting_ms / 1000})

    async def create(
        self, recording: str, request: RecordingRequest, upload: Upload, key: str, viewer_key: str, secret: str
    ) -> None:
        """Take a recording in, whose sound is in the blob store. It is not in the queue yet: see `enqueued`.

        Of enrolled voices only the ids are kept: whoever takes them in has checked the keys (`VoiceStore.opened`).
        Raises `Superseded` where another attempt to upload it was taken in.
        """
        if await self.known(recording):  # before it is listed anew
            raise Superseded(recording)
        whose = await self._owners.of(key)  # also where it was replaced while this was uploaded
        owner = owner_key(whose)
        now = time.time()
        while await self._redis.zcount(owner, now, now):  # an instant is a cursor: no two may share one
            now += 1e-6
        said = request.model_dump(exclude={"consent", "name", "channels", "voices"}, exclude_none=True)
        fields: dict[str, Any] = {
            **{name: int(value) if isinstance(value, bool) else value for name, value in said.items()},
            **upload.model_dump(exclude_none=True),
            "name": request.name or upload.file or "recording",
            "channels_as": request.channels,
            "voices": " ".join(dict.fromkeys(voice.id for voice in request.voices)),
            "secret": secret,
            "created_at": now,
            "state": State.QUEUED.value,
            "audio": 1,
            Role.RECORDER.value: whose,
            Role.VIEWER.value: digest(viewer_key),
        }
        await self._redis.zadd(owner, {recording: now})
        await self._redis.pexpire(owner, self.waiting_ms)
        await self._redis.set(known_key(whose), 1, px=self.waiting_ms)
        await self._owners.current(whose)  # which is known for as long as this may be there
        await self._redis.zadd(WAITING, {recording: now})  # first, so that it waits if this breaks off after the next
        told = [part for name, value in fields.items() for part in (name, value)]
        if await self._create(keys=[session_key(recording, "job")], args=[self.waiting_ms, *told]) == b"superseded":
            raise Superseded(recording)
        await self._redis.zrem(ARRIVING, recording)

    async def enqueued(self, recording: str) -> None:
        """The queue has been told of it."""
        await self._mark(keys=[session_key(recording, "job")], args=["enqueued", 1])

    async def workload(self) -> tuple[int, int]:
        """How many recordings wait, and how many are being heard."""
        return int(await self._redis.zcard(WAITING)), int(await self._redis.zcard(RUNNING))

    async def laid_aside(self) -> int:
        """How many recordings were given up."""
        return int(await self._redis.zcard(DEAD))

    async def memory_ratio(self) -> float | None:
        """The share of what Redis may hold that is taken, by this and all else; None where nothing bounds it."""
        return await memory_ratio(self._redis)

    # Looking

    @property
    def longest(self) -> float:
        """Seconds that a recording lives at most, if it waits as long as it may."""
        return self._longest_ms / 1000

    async def known(self, recording: str) -> bool:
        """Whether there is such a recording."""
        return bool(await self._redis.exists(session_key(recording, "job")))

    async def has_sound(self, recording: str) -> bool:
        """Whether its sound is there; not of what was erased."""
        return bool(await self._redis.hget(session_key(recording, "job"), "audio") == b"1")

    async def role(self, recording: str, key: str) -> Role | None:
        """What a key allows, or None where it opens nothing. Raises `UnknownRecording`."""
        owner, viewer = await self._redis.hmget(session_key(recording, "job"), [Role.RECORDER.value, Role.VIEWER.value])
        if owner is None:
            raise UnknownRecording(recording)
        if same(viewer, key):
            return Role.VIEWER
        return Role.RECORDER if await self._owners.opens(owner.decode(), key) else None

    async def job(self, recording: str) -> Job:
        """All that is known of a recording but what was heard. Raises `UnknownRecording`."""
        raw = await self._redis.hgetall(session_key(recording, "job"))
        if not raw:
            raise UnknownRecording(recording)
        fields: dict[str, Any] = {name.decode(): value.decode() for name, value in raw.items()}
        state = State(fields["state"])
        place = await self._redis.zrank(WAITING, recording) if state is State.QUEUED else None
        left = await self._redis.pttl(session_key(recording, "job")) / 1000 if state.over else None
        cancelling = state is State.RUNNING and "cancel" in fields
        position = None if place is None else place + 1
        return Job(id=recording, position=position, expires_in=left, cancelling=cancelling, **_known(fields))

    async def voices(self, recording: str, version: str) -> tuple[list[str], list[Voice]]:
        """The ids of enrolled voices that a recording was sent with, and those that are there and of this version."""
        ids = ((await self._redis.hget(session_key(recording, "job"), "voices")) or b"").decode().split()
        return ids, await self._sessions.voices.load(ids, version)

    async def known_owner(self, key: str) -> bool:
        """Whether a key is one under which recordings are uploaded: it outlives them, and every use prolongs that."""
        owner = await self._owners.of(key)
        if not await self._owners.opens(owner, key):
            return False
        if await self._redis.set(known_key(owner), 1, px=self.waiting_ms, xx=True):
            return True
        return bool(await self._redis.exists(owner_key(owner)))  # of an earlier version

    async def renew_owner_key(self, key: str) -> str:
        """Another key to all that is under one, which opens nothing any more. Raises `pipeline.keys.WrongKey`."""
        return await self._owners.renew(key)

    async def owned(self, key: str, before: float | None, limit: int) -> list[Job]:
        """Recordings under a key that came before an instant, newest first, at most `limit`."""
        owner = owner_key(await self._owners.of(key))
        await self._redis.pexpire(owner, self.waiting_ms)
        jobs: list[Job] = []
        most: str | float = "+inf" if before is None else f"({before!r}"
        while len(jobs) < limit:
            entries = await self._redis.zrevrangebyscore(owner, most, "-inf", 0, limit, withscores=True)
            for entry, score in entries:
                try:
                    jobs += [await self.job(entry.decode())]
                except UnknownRecording:
                    await self._redis.zrem(owner, entry)
                most = f"({score!r}"
            if len(entries) < limit:
                break
        return jobs[:limit]

    async def webhook(self, recording: str) -> tuple[str, str]:
        """Whom to tell what becomes of it, and the secret to sign that with. Raises `UnknownRecording`."""
        url, secret = await self._redis.hmget(session_key(recording, "job"), ["webhook", "secret"])
        if secret is None:
            raise UnknownRecording(recording)
        return (url or b"").decode(), secret.decode()

    # What people want

    async def cancel(self, recording: str) -> State:
        """Have it heard no more; returns the state that it was in. Raises `UnknownRecording`."""
        args: list[float | str] = [time.time(), self.retention_ms]
        outcome = (await self._cancel(keys=[session_key(recording, "job")], args=args)).decode()
        if outcome == "unknown":
            raise UnknownRecording(recording)
        await self._redis.zrem(WAITING, recording)
        if outcome == State.QUEUED.value:
            await self.settled(recording)
        return State(outcome)

    async def retry(self, recording: str) -> None:
        """Let what was given up be begun again. Raises `UnknownRecording`, and `ValueError` where it was not."""
        outcome = (await self._retry(keys=[session_key(recording, "job")], args=[self.waiting_ms])).decode()
        if outcome == "unknown":
            raise UnknownRecording(recording)
        if outcome != "ok":
            raise ValueError(f"Only what was given up can be sent again; this recording is {outcome}.")
        if owner := await self._redis.hget(session_key(recording, "job"), Role.RECORDER.value):
            await self._owners.current(owner.decode())  # which is known for as long as this may be there
        await self._redis.zrem(DEAD, recording)
        await self._redis.pexpire(session_key(recording, "looks"), self.waiting_ms)
        await self.enlist(BLOBS, recording, time.time() + self.waiting_ms / 1000)
        await self.enlist(WAITING, recording, time.time())

    async def given_up(self) -> list[Job]:
        """All recordings that were given up and can be sent again, the oldest first."""
        jobs = []
        for entry in await self._redis.zrange(DEAD, 0, -1):
            try:
                job = await self.job(entry.decode())
            except UnknownRecording:
                job = None
            if job and job.retryable:
                jobs.append(job)
            else:
                await self._redis.zrem(DEAD, entry)
        return jobs

    async def erase(self, recording: str) -> None:
        """Forget all but the sound, which is the blob store's."""
        owner = await self._redis.hget(session_key(recording, "job"), Role.RECORDER.value)
        await self._quotas.let_go_of_recording(recording)
        await self._sessions.erase(recording)
        for key in (WAITING, RUNNING, DEAD, ARRIVING):
            await self._redis.zrem(key, recording)
        if owner:
            await self._redis.zrem(owner_key(owner.decode()), recording)

    # What follows

    async def settled(self, recording: str) -> None:
        """What follows from a job's being over; it may follow twice."""
        await self._quotas.let_go_of_recording(recording)
        await self._redis.zrem(RUNNING, recording)
        await self._redis.delete(session_key(recording, "notes"))
        await self._redis.pexpire(session_key(recording, "looks"), self.retention_ms)
        state, audio, retryable, finished_at = await self._redis.hmget(
            session_key(recording, "job"), ["state", "audio", "retryable", "finished_at"]
        )
        if state is None or finished_at is None:  # erased, or sent again
            return
        if state != State.DONE.value.encode():
            await self._sessions.unpublish(recording)
        if retryable == b"1":
            await self.enlist(DEAD, recording, float(finished_at))
        if audio == b"1":
            await self.enlist(BLOBS, recording, float(finished_at) + self.retention_ms / 1000)

    async def without_sound(self, recording: str) -> None:
        """Its sound has been erased, or what came of it before its sender was gone."""
        await self._quotas.let_go_of_recording(recording)
        await self._mark(keys=[session_key(recording, "job")], args=["audio", 0])
        await self._redis.zrem(BLOBS, recording)

    async def enlist(self, name: str, recording: str, score: float) -> None:
        """Put a recording into one of the lists, which whoever erases it goes through last; what is gone is in none."""
        await self._redis.zadd(name, {recording: score})
        if not await self.known(recording):
            await self._redis.zrem(name, recording)


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of the hash that a `Job` shows."""
    consent = consent_to(fields.get("consent_version"), float(fields["created_at"]))
    shown = {name: value for name, value in fields.items() if name in Job.model_fields and value != ""}
    return shown | {"consent": consent}
