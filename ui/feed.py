"""One reader a session in each process: it folds the events into a timeline and tells every document of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from pydantic import ValidationError
from redis.exceptions import RedisError

from pipeline import tasks
from pipeline.events import (
    EmotionRead,
    Event,
    HopHeard,
    SessionEnded,
    SpeakerNamed,
    SpeakersMerged,
    TurnRevised,
    TurnUpdated,
    Warned,
    WordsHeard,
)
from pipeline.logs import about, why
from pipeline.quotas import Quotas
from pipeline.session import Role, SessionRecord, UnknownSession
from pipeline.store import SessionStore, connect
from pipeline.timeline import EmotionReading, Timeline, Turn
from ui.settings import PageSettings

RECORD_SECONDS = 15  # how often the time of erasure is asked for
RETRY_SECONDS = 1.0
WARNING_SECONDS = 20.0  # how long a warning stays in sight
HALTS = frozenset({"stuck", "resumed"})  # warnings of which the newer makes the older untrue
LIVE_SECONDS = 6.0  # silence of the stream after which a session no longer counts as live

log = logging.getLogger(__name__)


@dataclass
class Changes:
    """What has happened to a timeline since a view last drew it."""

    turns: set[int] = field(default_factory=set)
    readings: list[EmotionReading] = field(default_factory=list)
    rewritten: bool = False  # the past has changed: draw everything anew
    words: bool = False  # there is more to read, or other words
    merged: dict[int, int] = field(default_factory=dict)  # who turned out to be whom

    def add(self, later: Changes) -> None:
        """Join later changes to these."""
        self.turns |= later.turns
        self.readings += later.readings
        self.rewritten |= later.rewritten
        self.words |= later.words
        self.merged |= later.merged

    def now_called(self, speaker: int | None) -> int | None:
        """The number that somebody goes by after these changes."""
        seen: set[int] = set()
        while speaker in self.merged and speaker not in seen:
            seen.add(speaker)
            speaker = self.merged[speaker]
        return speaker


def fold(event: Event, timeline: Timeline) -> Changes:
    """Apply an event, and say what it changed."""
    changes = Changes()
    match event:
        case TurnUpdated(turn=turn):
            known = timeline.turns.get(turn.id)
            changes.turns.add(turn.id)
            if known is not None:
                changes.rewritten = _placed(known) != _placed(turn)
            else:
                # Readings that came before their turn could not be placed until now.
                changes.rewritten = any(reading.turn == turn.id for reading in timeline.readings[-50:])
        case TurnRevised() | SpeakerNamed():
            changes.rewritten = True
        case SpeakersMerged(kept=kept, merged=merged):
            changes.rewritten, changes.merged = True, {merged: kept}
        case WordsHeard():
            changes.words = True
    before = len(timeline.readings)
    event.apply(timeline)
    if isinstance(event, EmotionRead) and len(timeline.readings) == before:  # told again, otherwise
        changes.rewritten = True
    if not changes.rewritten:
        changes.readings = timeline.readings[before:]
    return changes


def _placed(turn: Turn) -> tuple[int, float, bool]:
    """What a turn that merely grows keeps."""
    return turn.speaker, turn.start, turn.second_voice


def recognised_after(event: Event, timeline: Timeline, recognised: frozenset[int]) -> frozenset[int]:
    """Whose names come from an enrolled voice, once an event is applied to the timeline as it stands before."""
    match event:
        case SpeakerNamed(speaker=speaker, name=name, by=by):
            return recognised | {speaker} if name and by == "voice" else recognised - {speaker}
        case SpeakersMerged(kept=kept, merged=merged) if merged in recognised:
            inherits = kept not in timeline.names
            return (recognised - {merged}) | ({kept} if inherits else set())
    return recognised


Listener = Callable[[Changes], None]


class Feed:
    """A session's timeline as it grows.

    `record` is None until first read; `keys` are the digests of those that let look; `recognised` are those whose names
    an enrolled voice gave; `gone` says that the session was erased or has expired; `trouble` is a sentence for the
    reader of the page, empty while all is well.
    """

    def __init__(self, store: SessionStore, session: str) -> None:
        self.session = session
        self.timeline = Timeline()
        self.recognised: frozenset[int] = frozenset()
        self.record: SessionRecord | None = None
        self.keys: dict[Role, str] = {}
        self.gone = False
        self.trouble = ""
        self.behind: float | None = None
        self._warned: dict[str, tuple[float, str]] = {}  # by what they are about: when, and the newest sentence
        self._last_hop_at = 0.0
        self._record_read_at = 0.0
        self._cursor = "0"  # the last stream entry taken
        self._store = store
        self._listeners: set[Listener] = set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def caught_up(self) -> bool:
        """Whether the past has been read; what is known before that is not worth showing."""
        return self._cursor != "0"

    @property
    def live(self) -> bool:
        """Whether the conversation is being heard at this moment."""
        return not self.timeline.ended and time.time() - self._last_hop_at < LIVE_SECONDS

    @property
    def warning(self) -> str:
        """What has just gone less well than it should, in the order in which it was told; empty when nothing has."""
        since = time.time() - WARNING_SECONDS
        return " ".join(message for at, message in self._warned.values() if at > since)

    @property
    def expires_in(self) -> float:
        """Seconds until the session is erased, if nobody uses it before."""
        if self.record is None:
            return 0.0
        return max(0.0, self.record.expires_in - (time.monotonic() - self._record_read_at))

    def start(self) -> None:
        """Begin to read; must be called inside a running event loop."""
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch())]

    async def close(self) -> None:
        """Stop reading."""
        await tasks.end(*self._tasks)

    def subscribe(self, listener: Listener) -> None:
        """Tell a listener of every change from now on."""
        self._listeners.add(listener)

    def unsubscribe(self, listener: Listener) -> bool:
        """Tell it no more; returns whether others still listen."""
        self._listeners.discard(listener)
        return bool(self._listeners)

    def forget(self) -> None:
        """The session has been erased: keep nothing of it."""
        self.gone = True
        self.timeline, self.recognised, self.record = Timeline(), frozenset(), None
        self.trouble, self.behind, self._warned = "", None, {}
        self._tell(Changes(rewritten=True))

    def fold(self, events: list[Event]) -> None:
        """Take the next events of the stream."""
        changes = Changes()
        for event in events:
            self.recognised = recognised_after(event, self.timeline, self.recognised)
            changes.add(fold(event, self.timeline))
            if isinstance(event, HopHeard) and event.published_at is not None:
                self._last_hop_at = event.published_at
                if event.arrived_at is not None:
                    self.behind = max(0.0, event.published_at - event.arrived_at)
            elif isinstance(event, Warned):
                self._warn(event)
            elif isinstance(event, SessionEnded):
                self.behind = None
        self._tell(changes)

    def _warn(self, event: Warned) -> None:
        """Keep what is told beside what is still in sight: after an upgrade several things are told at once."""
        about_what = "halt" if event.code in HALTS else event.code
        self._warned.pop(about_what, None)  # what is told again is the newest
        self._warned[about_what] = (event.published_at or time.time(), event.message)

    async def _read(self) -> None:
        about(session=self.session)
        while True:
            try:
                # What there is comes in one piece, so that views draw the past once and not as it was lived.
                self._take(await self._store.events(self.session, self._cursor))
                # A recording that is over may still be corrected.
                async for batch in self._store.follow(self.session, self._cursor, beyond_end=True):
                    # Before anybody is shown what has come; nothing, where it was erased.
                    self.keys = await self._store.keys(self.session) or self.keys
                    self._take(batch)
                return
            except UnknownSession:
                self.forget()
                return
            except ValidationError:
                log.warning("it holds events of an unknown version")
                self.trouble = "This session was recorded by a newer version of ToneTrack, which this page cannot read."
                self._tell(Changes())
                return
            except RedisError as error:
                log.warning("cannot be read: %s", why(error))
                self.trouble = "The store does not answer at the moment. The page goes on by itself when it does."
                self._tell(Changes())
                await asyncio.sleep(RETRY_SECONDS)

    def _take(self, batch: list[tuple[str, Event]]) -> None:
        self.trouble = ""
        if batch:
            self._cursor = batch[-1][0]
        self.fold([event for _, event in batch])

    async def _watch(self) -> None:
        while not self.gone:
            try:
                record = await self._store.record(self.session)
                if self.gone:
                    return  # it was erased while this was on its way
                self.record = record
                self._record_read_at = time.monotonic()
            except UnknownSession:
                self.forget()
                return
            except RedisError:
                pass  # the reader beside this task says so
            self._tell(Changes())
            await asyncio.sleep(RECORD_SECONDS)

    def _tell(self, changes: Changes) -> None:
        for listener in list(self._listeners):
            listener(changes)


class Hub:
    """All feeds of this process, each shared by the documents that show its session."""

    def __init__(self, settings: PageSettings) -> None:
        self.settings = settings
        self._redis = connect(settings.redis_url.get_secret_value())
        self.store = SessionStore(self._redis, settings.retention)
        self.quotas = Quotas(self._redis)
        self._feeds: dict[str, Feed] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def join(self, session: str, listener: Listener) -> Feed:
        """The session's feed; the listener hears of its changes until it leaves."""
        feed = self._feeds.get(session)
        if feed is None:
            feed = self._feeds[session] = Feed(self.store, session)
            feed.start()
        feed.subscribe(listener)
        return feed

    def leave(self, feed: Feed, listener: Listener) -> None:
        """Stop listening; the last to leave stops the reader."""
        if feed.unsubscribe(listener):
            return
        if self._feeds.get(feed.session) is feed:
            del self._feeds[feed.session]
        task = asyncio.get_running_loop().create_task(feed.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Stop all readers and let go of Redis."""
        await asyncio.gather(*(feed.close() for feed in self._feeds.values()), *self._closing)
        self._feeds.clear()
        with suppress(RedisError):
            await self._redis.aclose()


@cache
def hub() -> Hub:
    """The process's hub. Documents come and go; this stays, because their own modules are emptied with them."""
    return Hub(PageSettings())
