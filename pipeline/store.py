"""Everything ToneTrack remembers of a session, in Redis.

Seven keys a session, all in one hash slot (`{id}`), all of which expire `retention` seconds after anything was last
heard in the session:

    tonetrack:{id}              hash    purpose, consent, hashed keys, who records, how far everything is
    tonetrack:{id}:audio        stream  the journal: PCM frames that no snapshot covers yet
    tonetrack:{id}:webm         stream  the recorder's own bytes, where it sends webm; gone at the end
    tonetrack:{id}:snapshot     string  the conversation's state up to a frame
    tonetrack:{id}:events       stream  what was published, for every reader
    tonetrack:{id}:corrections  stream  what people and another diariser corrected, each with the step that it follows
    tonetrack:{id}:looks        list    who has looked at it (`pipeline.looks`)

What people enrol of their voices is no session's and lives apart (`pipeline.voices`), and so does whose place a session
holds while it is recorded (`pipeline.quotas`).

Writes that must happen once are Lua scripts (`scripts/`) that compare before they write, so that a retry after a lost
answer, a second recorder or a replayed hop changes nothing, and an erased session stays erased.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pipeline.consent import consent_to
from pipeline.events import SessionStarted
from pipeline.keys import digest, new_key, same
from pipeline.looks import Looks
from pipeline.owners import Owners
from pipeline.published import FOLLOW_BLOCK_MS, SCRIPTS, Published
from pipeline.published import session_key as _key
from pipeline.quotas import Quotas
from pipeline.session import (
    Appended,
    Claim,
    Codec,
    Expected,
    Frame,
    FrameGap,
    NewSession,
    OtherCodec,
    Role,
    SessionOver,
    SessionRecord,
    SessionRequest,
    TakenOver,
    UnknownSession,
)
from pipeline.voices import VoiceStore

UPLOADED: Final = ("job", "notes", "webhook", "deliveries")  # what else there is of a recording that was uploaded
HINTS: Final = ("min_speakers", "max_speakers", "diariser", "language")
CONNECTIONS: Final = 2**14  # of one client, more than a replica serves at once; by itself redis-py has 100
PROBE, PROBE_MS = "tonetrack:probe", 60_000  # what shows that Redis takes writes


def connect(url: str) -> Redis:
    """A client that rides out a short absence of Redis. Raises `ValueError` for a URL that is not Redis's."""
    return Redis.from_url(
        url,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=8),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        socket_connect_timeout=3,
        socket_timeout=FOLLOW_BLOCK_MS / 1000 + 5,
        health_check_interval=30,
        max_connections=CONNECTIONS,
    )


async def memory_ratio(redis: Redis) -> float | None:
    """The share of what Redis may hold that is taken, by whatever; None where nothing bounds it."""
    told = await redis.info("memory")
    return told["used_memory"] / told["maxmemory"] if told.get("maxmemory") else None


class SessionStore(Published):
    """Sessions in Redis, and in `voices` the enrolled voices beside them.

    `retention`: seconds after which a session is erased, from when anything was last added. `sound_retention`: the
    same for its sound, where that goes sooner.
    """

    def __init__(self, redis: Redis, retention: float, sound_retention: float | None = None) -> None:
        super().__init__(redis, round(retention * 1000))
        self.voices = VoiceStore(redis)
        self.looks = Looks(redis)
        self._quotas = Quotas(redis)
        self._owners = Owners(redis, retention)
        self.sound_ms = self.retention_ms if sound_retention is None else round(min(sound_retention, retention) * 1000)
        self._append, self._claim, self._save, self._stop, self._renew = (
            redis.register_script((SCRIPTS / f"{name}.lua").read_text())
            for name in ("append", "claim", "snapshot", "stop", "renew_key")
        )

    async def check(self) -> None:
        """Raises `redis.RedisError` while Redis does not answer or refuses writes, as one does that is full."""
        await self._redis.set(PROBE, "", px=PROBE_MS)

    async def create(self, request: SessionRequest, api_key: str = "") -> NewSession:
        """Open a session; `api_key`: the id of the API key that it is opened with, where it is opened with one.

        Raises `ValueError` when not everyone has agreed, and `UnknownVoice` or `WrongVoiceKey` for a voice that the
        session may not know.
        """
        if not request.consent:
            raise ValueError("Everyone who will be heard must agree before a recording starts (consent: true).")
        voices = await self.voices.opened(request.voices)
        session = NewSession(secrets.token_hex(8), new_key(), new_key())
        hints = {name: value for name in HINTS if (value := getattr(request, name)) not in (None, "")}
        fields = hints | {
            "name": request.name,
            "purpose": request.purpose.value,
            "remark": request.remark,
            "consent_version": request.consent_version,
            "created_at": time.time(),
            "voices": " ".join(voices),
            "api_key": api_key,
            Role.RECORDER: digest(session.recorder_key),
            Role.VIEWER: digest(session.viewer_key),
        }
        async with self._redis.pipeline(transaction=True) as both:  # or it might be there and not expire
            both.hset(_key(session.id), mapping=fields)
            both.pexpire(_key(session.id), self.retention_ms)
            await both.execute()
        await self.publish(session.id, 0, [SessionStarted(purpose=request.purpose.value)])
        return session

    async def record(self, session: str) -> SessionRecord:
        """What is known of a session. Raises `UnknownSession`."""
        names = ["name", "purpose", "remark", "consent_version", "created_at", "stopped"]
        told = await self._redis.hmget(_key(session), [*names, *HINTS])
        name, purpose, remark, version, created_at, stopped, *hints = told
        if created_at is None:
            raise UnknownSession(session)
        return SessionRecord(
            id=session,
            name=name.decode(),
            purpose=purpose.decode(),
            remark=(remark or b"").decode(),
            consent=consent_to((version or b"").decode(), float(created_at)),
            created_at=float(created_at),
            stopped=stopped is not None,
            expires_in=max(0, await self._redis.pttl(_key(session))) / 1000,
            **{hint: value.decode() for hint, value in zip(HINTS, hints, strict=True) if value is not None},
        )

    async def expected(self, session: str) -> Expected:
        """How many speakers whoever opened the session has announced."""
        least, most = await self._redis.hmget(_key(session), ["min_speakers", "max_speakers"])
        return Expected(int(least or 1), None if most is None else int(most))

    async def voice_ids(self, session: str) -> list[str]:
        """The enrolled voices that the session was given when it was opened; some may be gone by now."""
        return ((await self._redis.hget(_key(session), "voices")) or b"").decode().split()

    async def opened_with(self, session: str) -> str:
        """The id of the API key that a session was opened with; empty where that was none."""
        return ((await self._redis.hget(_key(session), "api_key")) or b"").decode()

    async def role(self, session: str, key: str) -> Role | None:
        """What a key allows, or None where it opens nothing. Raises `UnknownSession`."""
        recorder, viewer = await self._redis.hmget(_key(session), [Role.RECORDER, Role.VIEWER])
        if recorder is None:
            raise UnknownSession(session)
        if same(viewer, key):
            return Role.VIEWER
        return Role.RECORDER if await self._owners.opens(recorder.decode(), key) else None

    async def renew_viewer_key(self, session: str) -> str:
        """Another viewer key; the one before opens nothing any more, of an upload either. Raises `UnknownSession`."""
        return await self._renewed(session, Role.VIEWER)

    async def renew_recorder_key(self, session: str) -> str:
        """Another recorder key; whoever records with the one before is cut off.

        Raises `UnknownSession`, and `ValueError` for an upload, whose owner's key may open others as well.
        """
        return await self._renewed(session, Role.RECORDER)

    async def _renewed(self, session: str, role: Role) -> str:
        key = new_key()
        found = await self._renew(keys=[_key(session), _key(session, "job")], args=[role, digest(key)])
        if found < 0:
            raise ValueError(
                "This was uploaded: its owner's key may open others, too; POST /v1/recordings/key replaces it."
            )
        if not found:
            raise UnknownSession(session)
        return key

    async def keys(self, session: str) -> dict[Role, str]:
        """The digests of its keys, by which one knows that one was replaced; empty without a session."""
        hashes = await self._redis.hmget(_key(session), list(Role))
        keys = {role: stored.decode() for role, stored in zip(Role, hashes, strict=True) if stored is not None}
        if recorder := keys.get(Role.RECORDER):
            keys[Role.RECORDER] = await self._owners.current(recorder)
        return keys

    async def claim(self, session: str, codec: Codec, recorder: str | None = None) -> Claim:
        """Become the one recorder of a session. Raises `UnknownSession`, `SessionOver`, `OtherCodec`.

        `recorder`: what a recorder calls itself on all of its connections. They do not fence each other off, which
        matters when claims of broken lines are late; a frame that comes by two of them is journalled once all the same.
        """
        connection = recorder or secrets.token_hex(8)
        outcome, recorded, *reached = await self._claim(
            keys=[_key(session, suffix) for suffix in ("", Codec.PCM16, "snapshot")], args=[connection, codec]
        )
        match outcome:
            case b"unknown":
                raise UnknownSession(session)
            case b"over":
                raise SessionOver(session)
            case b"other":
                raise OtherCodec(Codec(recorded.decode()))
        return Claim(connection, *reached)

    async def append(self, session: str, connection: str, codec: Codec, frame: Frame) -> Appended:
        """Write a frame to the journal, once.

        Raises `UnknownSession`, `SessionOver`, `TakenOver` or `FrameGap`; a frame seen before is no error.
        """
        outcome, expected = await self._append(
            keys=[_key(session), _key(session, codec)],
            args=[
                connection,
                codec,
                frame.number,
                frame.data,
                frame.arrived_at,
                frame.cadence,
                self.retention_ms,
                self.sound_ms,
            ],
        )
        match outcome:
            case b"unknown":
                raise UnknownSession(session)
            case b"over":
                raise SessionOver(session)
            case b"taken":
                raise TakenOver(session)
            case b"gap":
                raise FrameGap(int(expected), frame.number)
        return Appended(int(expected), outcome == b"ok")

    async def frames(self, session: str, codec: Codec, first: int = 0) -> AsyncIterator[Frame]:
        """The journal from a frame on, in order."""
        cursor = f"{first + 1}-0"
        while batch := await self._redis.xrange(_key(session, codec), min=cursor, count=64):
            for entry, fields in batch:
                number = int(entry.split(b"-")[0]) - 1
                cadence = int(fields.get(b"cadence", 1))
                yield Frame(number, fields[b"data"], float(fields[b"at"]), cadence)
            cursor = f"({batch[-1][0].decode()}"

    async def save_snapshot(self, session: str, state: bytes, next_frame: int) -> None:
        """Keep the state that covers all frames before `next_frame`, and let those go from the journal."""
        await self._save(
            keys=[_key(session), _key(session, "snapshot"), _key(session, Codec.PCM16)],
            args=[state, next_frame, self.sound_ms],
        )

    async def load_snapshot(self, session: str) -> bytes | None:
        """The newest state, or None before the first."""
        state: bytes | None = await self._redis.get(_key(session, "snapshot"))
        return state

    async def stop(self, session: str, connection: str | None = None) -> None:
        """Let nothing more be added; with a connection, only if that still records.

        Raises `UnknownSession` or `TakenOver`.
        """
        outcome = await self._stop(keys=[_key(session)], args=[time.time(), connection or ""])
        if outcome == b"unknown":
            raise UnknownSession(session)
        if outcome == b"taken":
            raise TakenOver(session)

    async def waits(self, session: str, next_frame: int) -> bool:
        """Whether the session is open and has no sound from this frame on. Raises `UnknownSession`."""
        created, stopped, reached = await self._redis.hmget(
            _key(session), ["created_at", "stopped", f"next_{Codec.PCM16}"]
        )
        if created is None:
            raise UnknownSession(session)
        return stopped is None and int(reached or 0) <= next_frame

    async def forget_audio(self, session: str) -> None:
        """Delete all sound of a session that has ended, and the state that held some of it."""
        await self._redis.delete(*(_key(session, suffix) for suffix in (*Codec, "snapshot")))

    async def unpublish(self, recording: str) -> None:
        """Take back that an uploaded recording is a session: it was cancelled after all."""
        await self._redis.delete(*(_key(recording, suffix) for suffix in ("", "events", "corrections")))

    async def erase(self, session: str) -> int:
        """Delete all that is known of a session; returns how many of its keys there were."""
        suffixes = ("", *Codec, "snapshot", "events", "corrections", "looks", "streams", *UPLOADED)
        erased = int(await self._redis.delete(*(_key(session, suffix) for suffix in suffixes)))
        await self._quotas.forget(session)  # last: its recorder takes no place for what is not there
        return erased
