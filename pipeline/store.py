"""Everything ToneTrack remembers of a session, in Redis.

Five keys a session, all in one hash slot (`{id}`), all of which expire `retention` seconds after anything was last
added to the session:

    tonetrack:{id}           hash    purpose, consent, hashed keys, who records, how far everything is
    tonetrack:{id}:audio     stream  the journal: PCM frames that no snapshot covers yet
    tonetrack:{id}:webm      stream  the recorder's own bytes, where it sends webm; gone at the end
    tonetrack:{id}:snapshot  string  the conversation's state up to a frame
    tonetrack:{id}:events    stream  what was published, for every reader

Writes that must happen once are Lua scripts (`scripts/`) that compare before they write, so that a retry after a lost
answer, a second recorder or a replayed hop changes nothing, and an erased session stays erased.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pipeline.events import Event, SessionStarted, Warned, parse
from pipeline.session import (
    Claim,
    Codec,
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
from pipeline.timeline import Timeline

SCRIPTS: Final = Path(__file__).parent / "scripts"
FOLLOW_BLOCK_MS: Final = 5_000  # a reader's wait for the next event before it asks again


def connect(url: str) -> Redis:
    """A client that rides out a short absence of Redis. Raises `ValueError` for a URL that is not Redis's."""
    return Redis.from_url(
        url,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=8),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        socket_connect_timeout=3,
        socket_timeout=FOLLOW_BLOCK_MS / 1000 + 5,
        health_check_interval=30,
    )


class SessionStore:
    """Sessions in Redis.

    `retention`: seconds after which a session is erased, from when anything was last added. `sound_retention`: the
    same for its sound, where that goes sooner.
    """

    def __init__(self, redis: Redis, retention: float, sound_retention: float | None = None) -> None:
        # Typed loosely: redis-py types every answer for all of its decoding modes at once; here it is always bytes.
        self._redis: Any = redis
        self.retention_ms = round(retention * 1000)
        self.sound_ms = self.retention_ms if sound_retention is None else round(min(sound_retention, retention) * 1000)
        self._append, self._claim, self._publish, self._save, self._stop = (
            redis.register_script((SCRIPTS / f"{name}.lua").read_text())
            for name in ("append", "claim", "publish", "snapshot", "stop")
        )

    async def ping(self) -> None:
        """Raises `redis.RedisError` while Redis does not answer."""
        await self._redis.ping()

    async def create(self, request: SessionRequest) -> NewSession:
        """Open a session. Raises `ValueError` when not everyone has agreed."""
        if not request.consent:
            raise ValueError("Everyone who will be heard must agree before a recording starts (consent: true).")
        session = NewSession(secrets.token_hex(8), secrets.token_urlsafe(24), secrets.token_urlsafe(24))
        fields = {
            "name": request.name,
            "purpose": request.purpose,
            "created_at": time.time(),
            Role.RECORDER: _digest(session.recorder_key),
            Role.VIEWER: _digest(session.viewer_key),
        }
        await self._redis.hset(_key(session.id), mapping=fields)
        await self._redis.pexpire(_key(session.id), self.retention_ms)
        await self.publish(session.id, 0, [SessionStarted(purpose=request.purpose)])
        return session

    async def record(self, session: str) -> SessionRecord:
        """What is known of a session. Raises `UnknownSession`."""
        names = ["name", "purpose", "created_at", "stopped"]
        name, purpose, created_at, stopped = await self._redis.hmget(_key(session), names)
        if created_at is None:
            raise UnknownSession(session)
        return SessionRecord(
            id=session,
            name=name.decode(),
            purpose=purpose.decode(),
            created_at=float(created_at),
            stopped=stopped is not None,
            expires_in=max(0, await self._redis.pttl(_key(session))) / 1000,
        )

    async def role(self, session: str, key: str) -> Role | None:
        """What a key allows, or None where it opens nothing. Raises `UnknownSession`."""
        hashes = await self._redis.hmget(_key(session), list(Role))
        if hashes[0] is None:
            raise UnknownSession(session)
        matches = [role for role, stored in zip(Role, hashes, strict=True) if _same(stored, key)]
        return matches[0] if matches else None

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

    async def append(self, session: str, connection: str, codec: Codec, frame: Frame) -> int:
        """Write a frame to the journal, once; returns the number of the next.

        Raises `UnknownSession`, `SessionOver`, `TakenOver` or `FrameGap`; a frame seen before is no error.
        """
        outcome, expected = await self._append(
            keys=[_key(session), _key(session, codec)],
            args=[connection, codec, frame.number, frame.data, frame.arrived_at, self.retention_ms, self.sound_ms],
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
        return int(expected)

    async def frames(self, session: str, codec: Codec, first: int = 0) -> AsyncIterator[Frame]:
        """The journal from a frame on, in order."""
        cursor = f"{first + 1}-0"
        while batch := await self._redis.xrange(_key(session, codec), min=cursor, count=64):
            for entry, fields in batch:
                number = int(entry.split(b"-")[0]) - 1
                yield Frame(number, fields[b"data"], float(fields[b"at"]))
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

    async def publish(self, session: str, step: int, events: Sequence[Event]) -> bool:
        """Append the events of one step to the stream, unless that step was published before.

        Steps count up; replaying a step publishes nothing and returns False. Raises `UnknownSession`.
        """
        now = time.time()
        texts = [event.model_copy(update={"published_at": now}).model_dump_json() for event in events]
        outcome = await self._publish(
            keys=[_key(session), _key(session, "events")], args=[step, self.retention_ms, *texts]
        )
        if outcome == b"unknown":
            raise UnknownSession(session)
        return bool(outcome == b"ok")

    async def warn(self, session: str, warning: Warned) -> None:
        """Publish a warning, outside of any step; a session without events gets none."""
        text = warning.model_copy(update={"published_at": time.time()}).model_dump_json()
        await self._redis.xadd(_key(session, "events"), {"event": text}, nomkstream=True)

    async def events(self, session: str, after: str = "0") -> list[tuple[str, Event]]:
        """All events after a stream entry, with their entry ids."""
        start = f"({after}" if after != "0" else "-"
        entries = await self._redis.xrange(_key(session, "events"), min=start)
        return [(entry.decode(), parse(fields[b"event"])) for entry, fields in entries]

    async def follow(self, session: str, after: str = "0") -> AsyncIterator[list[tuple[str, Event]]]:
        """All events after an entry and then every new one, in batches; empty batches mark quiet seconds.

        Ends after `session.ended`. Raises `UnknownSession` once the session is erased.
        """
        while True:
            answer = await self._redis.xread({_key(session, "events"): after}, count=500, block=FOLLOW_BLOCK_MS)
            batch = [(entry.decode(), parse(fields[b"event"])) for entry, fields in answer[0][1]] if answer else []
            if not batch and not await self._redis.exists(_key(session)):
                raise UnknownSession(session)
            if not batch and await self.ended_at(session) is not None:
                return
            yield batch
            if batch:
                after = batch[-1][0]
                if batch[-1][1].type == "session.ended":
                    return

    async def newest(self, session: str) -> Event | None:
        """The event that was published last."""
        entries = await self._redis.xrevrange(_key(session, "events"), count=1)
        return parse(entries[0][1][b"event"]) if entries else None

    async def ended_at(self, session: str) -> float | None:
        """The session's length in seconds once its end is published, or None before."""
        event = await self.newest(session)
        return event.heard_until if event and event.type == "session.ended" else None

    async def timeline(self, session: str) -> Timeline:
        """The conversation as it is known now. Raises `UnknownSession`."""
        if not await self._redis.exists(_key(session)):
            raise UnknownSession(session)
        entries = await self._redis.xrange(_key(session, "events"))
        return await asyncio.to_thread(_fold, [fields[b"event"] for _, fields in entries])  # a long one takes a while

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

    async def erase(self, session: str) -> int:
        """Delete all that is known of a session; returns how many of its keys there were."""
        suffixes = ("", *Codec, "snapshot", "events")
        return int(await self._redis.delete(*(_key(session, suffix) for suffix in suffixes)))


def _key(session: str, suffix: str = "") -> str:
    return f"tonetrack:{{{session}}}:{suffix}" if suffix else f"tonetrack:{{{session}}}"


def _fold(texts: Sequence[bytes]) -> Timeline:
    timeline = Timeline()
    for text in texts:
        parse(text).apply(timeline)
    return timeline


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _same(stored: bytes | None, key: str) -> bool:
    return stored is not None and hmac.compare_digest(stored, _digest(key).encode())
