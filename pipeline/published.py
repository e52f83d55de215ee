"""What a session has told so far, in Redis: its events, and the corrections that some of them follow from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from pipeline.events import Event, SpeakersMerged, Warned, parse
from pipeline.session import OutOfStep, Standing, UnknownSession
from pipeline.timeline import Timeline

SCRIPTS: Final = Path(__file__).parent / "scripts"
PAGE: Final = 1_000  # events that are read at a time, where all are wanted: a session of hours has tens of thousands
FOLLOW_BLOCK_MS: Final = 5_000  # a reader's wait for the next event before it asks again

Aside = Callable[[Callable[[Timeline, Sequence[bytes]], None], Timeline, Sequence[bytes]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Corrected:
    """A correction (the JSON of one of `pipeline.corrections`) that took effect after the step `after`.

    `token`: the request's own, which makes it known again.
    """

    after: int
    token: str
    correction: str


def session_key(session: str, suffix: str = "") -> str:
    """Where in Redis a part of a session is."""
    return f"tonetrack:{{{session}}}:{suffix}" if suffix else f"tonetrack:{{{session}}}"


class Published:
    """The events and corrections of sessions. `retention_ms`: how long they are kept after anything was added."""

    def __init__(self, redis: Redis, retention_ms: int) -> None:
        # Typed loosely: redis-py types every answer for all of its decoding modes at once; here it is always bytes.
        self._redis: Any = redis
        self.retention_ms = retention_ms
        self._publish, self._correct = (
            redis.register_script((SCRIPTS / f"{name}.lua").read_text()) for name in ("publish", "correct")
        )

    async def publish(self, session: str, step: int, events: Sequence[Event], corrected: int | None = None) -> bool:
        """Append the events of one step to the stream, unless that step was published before.

        Steps count up; replaying a step publishes nothing and returns False. `corrected`: how many corrections the
        events take into account. Raises `UnknownSession`, and `OutOfStep` where there are more.
        """
        ended = next((event.heard_until for event in events if event.type == "session.ended"), "")
        outcome = await self._publish(
            keys=_keys(session),
            args=[step, self.retention_ms, "" if corrected is None else corrected, ended, *_stamped(events)],
        )
        _check(session, outcome)
        return bool(outcome == b"ok")

    async def correct(self, session: str, number: int, corrected: Corrected, events: Sequence[Event]) -> None:
        """Keep the session's `number`-th correction (from 1) and append its events to the stream, both or neither.

        Doing so again with the same token changes nothing. Raises `UnknownSession`, and `OutOfStep` where the session
        is not at the step `corrected.after` any more or has another correction of that number.
        """
        args: list[str | int] = [corrected.after, number, corrected.token, corrected.correction, *_stamped(events)]
        outcome = await self._correct(keys=_keys(session), args=args)
        _check(session, outcome)

    async def corrections(self, session: str) -> list[Corrected]:
        """All corrections, in the order in which they took effect."""
        entries = await self._redis.xrange(session_key(session, "corrections"))
        return [
            Corrected(int(fields[b"after"]), fields[b"token"].decode(), fields[b"correction"].decode())
            for _, fields in entries
        ]

    async def standing(self, session: str) -> Standing:
        """How far a session is. Raises `UnknownSession`."""
        created, published, stopped = await self._redis.hmget(
            session_key(session), ["created_at", "published", "stopped"]
        )
        if created is None:
            raise UnknownSession(session)
        corrected = int(await self._redis.xlen(session_key(session, "corrections")))
        return Standing(int(published or -1), corrected, stopped is not None, await self.ended_at(session))

    async def warn(self, session: str, warning: Warned) -> None:
        """Publish a warning, outside of any step; a session without events gets none."""
        (text,) = _stamped([warning])
        await self._redis.xadd(session_key(session, "events"), {"event": text}, nomkstream=True)

    async def events(self, session: str, after: str = "0") -> list[tuple[str, Event]]:
        """All events after a stream entry, with their entry ids."""
        start = f"({after}" if after != "0" else "-"
        entries = await self._redis.xrange(session_key(session, "events"), min=start)
        return [(entry.decode(), parse(fields[b"event"])) for entry, fields in entries]

    async def shown_as(self, session: str, speaker: int) -> list[int]:
        """With whom a speaker has been merged, and with whom those have been, in turn; nobody for most."""
        kept: dict[int, int] = {}
        async for texts in self._pages(session):
            for text in texts:
                if b"speakers.merged" in text and isinstance(event := parse(text), SpeakersMerged):  # few of many
                    kept[event.merged] = event.kept
        shown: list[int] = []
        while (speaker := kept.pop(speaker, 0)) > 0:
            shown.append(speaker)
        return shown

    async def follow(
        self, session: str, after: str = "0", beyond_end: bool = False
    ) -> AsyncIterator[list[tuple[str, Event]]]:
        """All events after an entry and then every new one, in batches; empty batches mark quiet seconds.

        Ends once the session has ended and all is told; with `beyond_end` it goes on, for people may correct what they
        see long after. Raises `UnknownSession` once the session is erased.
        """
        over = await self.ended_at(session) is not None
        while True:
            block = None if over and not beyond_end else FOLLOW_BLOCK_MS
            answer = await self._redis.xread({session_key(session, "events"): after}, count=500, block=block)
            batch = [(entry.decode(), parse(fields[b"event"])) for entry, fields in answer[0][1]] if answer else []
            if batch:
                after = batch[-1][0]
                over = over or any(event.type == "session.ended" for _, event in batch)
            else:
                if not await self._redis.exists(session_key(session)):
                    raise UnknownSession(session)
                if over and not beyond_end:
                    return
                over = await self.ended_at(session) is not None
            yield batch

    async def ended_at(self, session: str) -> float | None:
        """The session's length in seconds once its end is published, or None before."""
        if (ended := await self._redis.hget(session_key(session), "ended")) is not None:
            return float(ended)
        # A session of an earlier version says so by its last event.
        entries = await self._redis.xrevrange(session_key(session, "events"), count=1)
        event = parse(entries[0][1][b"event"]) if entries else None
        return event.heard_until if event and event.type == "session.ended" else None

    async def timeline(self, session: str, aside: Aside = asyncio.to_thread) -> Timeline:
        """The conversation as it is known now. Raises `UnknownSession`.

        `aside`: where the work is done, which takes a while for a long one.
        """
        timeline = Timeline()
        async for texts in self._pages(session):
            await aside(_fold, timeline, texts)
        if not await self._redis.exists(session_key(session)):  # or was erased meanwhile
            raise UnknownSession(session)
        return timeline

    async def _pages(self, session: str) -> AsyncIterator[list[bytes]]:
        """All events as they stand in Redis, so many at a time."""
        key, start = session_key(session, "events"), "-"
        while entries := await self._redis.xrange(key, min=start, count=PAGE):
            yield [fields[b"event"] for _, fields in entries]
            start = f"({entries[-1][0].decode()}"


def _keys(session: str) -> list[str]:
    return [session_key(session, suffix) for suffix in ("", "events", "corrections", "looks")]


def _stamped(events: Sequence[Event]) -> list[str]:
    now = time.time()
    return [event.model_copy(update={"published_at": now}).model_dump_json() for event in events]


def _check(session: str, outcome: bytes) -> None:
    if outcome == b"unknown":
        raise UnknownSession(session)
    if outcome == b"behind":
        raise OutOfStep(session)


def _fold(timeline: Timeline, texts: Sequence[bytes]) -> None:
    for text in texts:
        parse(text).apply(timeline)
