"""Many who talk at once: live sessions that join a few at a time, in real time, and what was heard of them.

What was heard is read from Redis afterwards, so that nobody's watching is part of what the service has to do.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from typing import Literal

import httpx
import numpy as np

from deployments.client import Recorder, RecordingRefused, Session, open_session
from deployments.protocol import Close
from deployments.recorder import FRAME_SECONDS
from pipeline import tasks
from pipeline.events import parse
from pipeline.published import session_key
from pipeline.timeline import HOP_SECONDS, SAMPLE_RATE
from tests.benchmarks.figures import MOST_SECONDS, Figures, Heard, Percentiles, kept_up
from tests.benchmarks.usage import Usage, per_second
from tests.service import Pcm, Service, frames
from tests.talkers import HIGH, LOW, conversation, small_talk

Codec = Literal["pcm16", "webm"]

HEARD, READ = b'"type":"hop.heard"', b'"type":"emotion.read"'
FEW, PAUSE_SECONDS = 4, 1.0  # that join together, and until the next do: a machine may say that it is full in between
SHIFT = 7 * SAMPLE_RATE  # samples by which each conversation begins later in the same talk than the one before it
TALK_SECONDS = 60.0  # until a talk begins anew
TALKS = 8  # that differ; whoever comes after them says the same as somebody else


def talk() -> Pcm:
    """A synthetic conversation of two: int16 (n,)."""
    audio, _ = conversation((LOW, HIGH), small_talk(talkers=2, seconds=TALK_SECONDS, seed=5), seed=5)
    return np.round(audio * 32_767).astype(np.int16)


def talk_of(pcm: Pcm, number: int, seconds: float) -> Pcm:
    """So many seconds of what the `number`-th of a crowd says: the talk from another moment on, over and over."""
    return np.resize(np.roll(pcm, -number * SHIFT), round(seconds * SAMPLE_RATE))


async def encoded(pcm: Pcm, codec: Codec) -> list[bytes]:
    """What a recorder sends, frame by frame, made beforehand: encoding is the recorders' work, not the service's."""
    return [frame async for frame in frames(pcm, codec, pace=0)]


@dataclass
class Stream:
    """One who talks: the session, and when each of the frames, of a hop each, was sent, in Unix time."""

    session: Session
    sent_at: list[float] = field(default_factory=list)
    task: asyncio.Task[float] | None = None

    async def paced(self, said: Iterable[bytes], begun: asyncio.Event, over: asyncio.Event) -> AsyncIterator[bytes]:
        """Frames at the moments at which a microphone would give them, from when it has begun until it is over."""
        await begun.wait()
        start = time.monotonic() + FRAME_SECONDS
        for number, frame in enumerate(said):
            await asyncio.sleep(max(0.0, start + number * FRAME_SECONDS - time.monotonic()))
            if over.is_set():
                return
            self.sent_at.append(time.time())
            yield frame


class Crowd:
    """Live sessions on a service. `seconds`: how long those who send webm may talk; PCM16 begins anew by itself."""

    def __init__(self, service: Service, pcm: Pcm, codec: Codec = "pcm16", seconds: float = TALK_SECONDS) -> None:
        self.service = service
        self._codec = codec
        self._over = asyncio.Event()
        length = seconds if codec == "webm" else TALK_SECONDS
        self._talks = [talk_of(pcm, number, length) for number in range(TALKS)]
        self._said: list[Sequence[bytes]] = []
        self.streams: list[Stream] = []
        self._begun = 0
        self.refused: Counter[str] = Counter()  # by how: 503 as a session is opened, `busy` as its recorder comes

    async def join(self, number: int, opened: Sequence[Session] = (), together: int = FEW) -> int:
        """Let so many more come, so many of them `together`; returns how many of them were let in.

        `opened`: sessions for the first of them, which were opened before.
        """
        self._said = self._said or [await encoded(pcm, self._codec) for pcm in self._talks]
        before, coming = len(self.streams), [*opened[:number], *[None] * (number - len(opened))]
        for first in range(0, number, together):
            await asyncio.gather(*(self._begin(session) for session in coming[first : first + together]))
            await asyncio.sleep(PAUSE_SECONDS)
        return len(self.streams) - before

    async def _begin(self, session: Session | None) -> None:
        try:
            session = session or await open_session(self.service.api, "research")
        except httpx.HTTPStatusError as error:
            patience = "" if "Retry-After" in error.response.headers else " that says nothing of when to come again"
            self.refused[f"{error.response.status_code}{patience}"] += 1
            return
        stream, recorder = Stream(session), Recorder(session, self._codec, patient=False)
        said, self._begun = self._said[self._begun % TALKS], self._begun + 1
        frames = stream.paced(cycle(said) if self._codec == "pcm16" else said, recorder.welcomed, self._over)
        stream.task = asyncio.create_task(recorder.record(frames))
        welcomed = asyncio.create_task(recorder.welcomed.wait())
        await asyncio.wait({stream.task, welcomed}, return_when=asyncio.FIRST_COMPLETED)
        await tasks.end(welcomed)
        try:
            if stream.task.done():
                stream.task.result()
            self.streams.append(stream)
        except RecordingRefused as refusal:
            self.refused[_named(refusal.code)] += 1

    async def leave(self) -> int:
        """Have all of them stop, and wait until everything is heard; returns how many hops never were."""
        self._over.set()
        await asyncio.gather(*(stream.task for stream in self.streams if stream.task))
        heard = await asyncio.to_thread(lambda: [len(self.hops(stream)) for stream in self.streams])
        slack = self._codec == "webm"  # an encoder's last hop may have no end
        return sum(max(0, len(stream.sent_at) - slack - told) for stream, told in zip(self.streams, heard, strict=True))

    async def heard(self, until: float, streams: Sequence[Stream]) -> tuple[list[Heard], list[float]]:
        """Of the hops that some sent before a moment those that were heard by now, and when the others were sent."""
        told = await asyncio.to_thread(lambda: [self.hops(stream) for stream in streams])
        unheard = [
            at
            for stream, hops in zip(streams, told, strict=True)
            for number, at in enumerate(stream.sent_at)
            if number not in hops and at < until
        ]
        return [hop for hops in told for hop in hops.values() if hop.sent_at < until], unheard

    def hops(self, stream: Stream) -> dict[int, Heard]:
        """The hops of a stream that have been heard, by number from 0.

        Those of webm end a little before their frames, for an encoder holds something back. Of hops that are heard
        together the first arrived, and has waited since, a hop before the second.
        """
        with self.service.redis() as redis:
            entries = redis.xrange(session_key(stream.session.id, "events"))
        told = (parse(fields[b"event"]) for _, fields in entries if HEARD in fields[b"event"])
        hops: dict[int, Heard] = {}
        reached = 0
        for event in told:
            if not (event.arrived_at and event.published_at):
                continue
            first, reached = reached, min(round(event.heard_until / HOP_SECONDS), len(stream.sent_at))
            for number in range(first, reached):
                arrived_at = event.arrived_at - (reached - 1 - number) * HOP_SECONDS
                hops[number] = Heard(stream.sent_at[number], arrived_at, event.published_at, reached - first)
        return hops

    async def fragments(self) -> float:
        """How many fragments were read for each second of talk so far."""

        def count() -> float:
            heard = HOP_SECONDS * sum(len(self.hops(stream)) for stream in self.streams)
            with self.service.redis() as redis:
                read = sum(
                    READ in fields[b"event"]
                    for stream in self.streams
                    for _, fields in redis.xrange(session_key(stream.session.id, "events"))
                )
            return read / heard if heard else 0.0

        return await asyncio.to_thread(count)

    async def erase(self) -> None:
        """Leave the service as it was."""
        await asyncio.gather(*(stream.session.erase() for stream in self.streams))


def _named(code: int) -> str:
    """A close code as the server calls it; 1006, where a line broke without a word, is none of the server's."""
    return Close(code).name.lower() if code in set(Close) else str(code)


async def listen(crowd: Crowd, seconds: float) -> Figures:
    """How a crowd that talks is heard over some seconds from now on, and what hearing takes.

    Besides what `as_heard` tells, by kind of process the seconds of CPU for each second of sound that was heard
    meanwhile, which is less than was said where hearing is late.
    """
    before, since = await asyncio.to_thread(Usage.of, crowd.service), time.time()
    await asyncio.sleep(seconds)
    after, until = await asyncio.to_thread(Usage.of, crowd.service), time.time()
    await asyncio.sleep(MOST_SECONDS)  # what was sent last has had its time
    hops, unheard = await crowd.heard(until, crowd.streams)
    heard = HOP_SECONDS * sum(since <= hop.published_at < until for hop in hops)
    return {
        **as_heard(hops, unheard, since),
        "cpu": per_second(after.since(before), heard),
        "cores": sum(after.since(before).values()) / (after.at - before.at),
    }


async def listen_to(
    crowd: Crowd, streams: Sequence[Stream], seconds: float, coming: asyncio.Future[int] | None = None
) -> Figures:
    """How some of a crowd are heard over some seconds from now on.

    `coming`: others who do, until when they are listened to, and for so many seconds more.
    """
    since = time.time()
    if coming:
        await asyncio.wait({coming})
    await asyncio.sleep(seconds)
    until = time.time()
    await asyncio.sleep(MOST_SECONDS)
    return as_heard(*await crowd.heard(until, streams), since)


def as_heard(hops: Sequence[Heard], unheard: Sequence[float], since: float) -> Figures:
    """What hops that were heard, and the moments at which others were sent, come to, from a moment in Unix time on.

    Percentiles of the lag in seconds, how many hops they are of, the 95th since they were sent, every how many seconds
    something was heard, and the share that kept up.
    """
    mine = [hop for hop in hops if hop.sent_at >= since]
    waiting = [time.time() - at for at in unheard if at >= since]  # which have waited for so long, and still do
    return {
        **asdict(Percentiles.of([*(hop.lag for hop in mine), *waiting])),
        "sent_p95": Percentiles.of([*(hop.published_at - hop.sent_at for hop in mine), *waiting]).p95,
        "every": HOP_SECONDS * len(mine) / (sum(1 / hop.together for hop in mine) or 1.0),
        "kept_up": kept_up(len(mine) + len(waiting), mine),
    }
