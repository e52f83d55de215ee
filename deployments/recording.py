"""A recording in progress: from the recorder's frames to journalled PCM and the session's actor."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.context import Context
from deployments.halts import Halts, Owed
from deployments.metrics import FRAMES, asking_redis
from deployments.protocol import Close, Refused
from pipeline import tasks
from pipeline.audio import UndecodableAudio, WebmDecoder
from pipeline.session import Claim, Codec, Frame
from pipeline.timeline import SAMPLE_RATE

FRAME_SAMPLES = SAMPLE_RATE // 2  # decoded webm is journalled in frames of this size
BACKLOG = 40  # frames that may wait to be heard before the recorder is slowed down
UNANSWERED = 16  # frames whose answers may be awaited: an answer waits for company, and a frame may be 20 ms
BLOCKS_AHEAD = 256  # of decoded webm that may wait to be journalled: an hour of silence is some kB of it
BYTES_AHEAD = 2**20  # of webm that may wait to be decoded, besides what earlier connections received
# All of a webm stream is kept until its session ends, so there are bounds to it. A browser's has 3 KiB a second.
BYTES_A_SECOND = 2**15  # for the sound in it, and as it comes
BYTES_BESIDES = 2**22  # that may hold no sound; and that may come at once, as after a broken line
MOST_BYTES = 2**27  # of a session
TOO_MUCH = f"{MOST_BYTES // 2**20} MiB of webm have come, and no more is taken; stop, and open another session."


class Recording(Protocol):
    """What a connection does with what it receives."""

    next_frame: int

    async def take(self, number: int, payload: bytes, arrived_at: float) -> int:
        """Journal a frame; returns the number of the next. Raises the store's errors, `UndecodableAudio`, `Refused`."""
        ...

    async def keep_pace(self) -> None:
        """Wait while far more has been received than heard, so that TCP slows the recorder down."""
        ...

    async def stop(self) -> float:
        """Hear everything, publish the end; returns the session's seconds."""
        ...

    async def leave(self) -> None:
        """The connection is over, whyever."""
        ...


async def open_recording(context: Context, session: str, codec: Codec, recorder: str | None) -> Recording:
    """Claim a session for this connection. Raises the store's errors."""
    claim = await context.store.claim(session, codec, recorder)
    if codec is Codec.PCM16:
        return PcmRecording(context, session, claim)
    recording = WebmRecording(context, session, claim, (await context.store.record(session)).created_at)
    await recording.replay()
    return recording


class _Journal:
    """The PCM journal of one session, and its actor, which is told of each frame."""

    def __init__(self, context: Context, session: str, claim: Claim) -> None:
        self._store = context.store
        self._pool = context.pool
        self._session = session
        self._claim = claim
        self.next_frame = claim.next_audio
        self._told: deque[asyncio.Future[int]] = deque()
        self._owed = Owed(Halts(context.store, session))
        self._stale = 0  # of them, that were asked before the recorder was slowed down

    async def add(self, number: int, pcm: bytes, arrived_at: float) -> int:
        frame = Frame(number, pcm, arrived_at, self._pool.cadence(self._session))
        with asking_redis("append"):
            appended = await self._store.append(self._session, self._claim.connection, Codec.PCM16, frame)
        FRAMES.inc(1, {"outcome": "kept" if appended.kept else "repeated"})
        if number >= self.next_frame:
            if not appended.kept:  # by another line of the same recorder, perhaps at another cadence
                frame = await anext(self._store.frames(self._session, Codec.PCM16, number), frame)
            answer = self._pool.hear(self._session, frame)
            self._owed.expect(answer)
            self._told.append(answer)
            self.next_frame = appended.next
        return appended.next

    async def keep_pace(self) -> None:
        while self._told and (self._told[0].done() or len(self._told) > UNANSWERED):
            waiting = await self._told.popleft()
            if self._stale:
                self._stale -= 1
            elif waiting > BACKLOG:
                await asyncio.sleep(0.5)
                self._stale = len(self._told)

    async def stop(self) -> float:
        await self._store.stop(self._session, self._claim.connection)
        seconds: float = await self._pool.actor(self._session).finish.remote(self._session)
        return seconds


class PcmRecording:
    """Frames of PCM16, each of which stands alone."""

    def __init__(self, context: Context, session: str, claim: Claim) -> None:
        self._journal = _Journal(context, session, claim)
        self.next_frame = claim.next_frame

    async def take(self, number: int, payload: bytes, arrived_at: float) -> int:
        """See `Recording`."""
        if len(payload) % 2:
            raise UndecodableAudio("PCM16 comes in pairs of bytes, and this frame holds an odd number")
        return await self._journal.add(number, payload, arrived_at)

    async def keep_pace(self) -> None:
        """See `Recording`."""
        await self._journal.keep_pace()

    async def stop(self) -> float:
        """See `Recording`."""
        return await self._journal.stop()

    async def leave(self) -> None:
        """See `Recording`."""


class WebmRecording:
    """One webm stream, journalled as it comes and decoded by one demuxer.

    A demuxer cannot begin in the middle. So the stream is kept until the session ends, and a new connection decodes
    it again from its start, leaving out the samples that are journalled already.
    """

    def __init__(self, context: Context, session: str, claim: Claim, created_at: float) -> None:
        self._store = context.store
        self._session = session
        self._claim = claim
        self._created_at = created_at
        self._journal = _Journal(context, session, claim)
        self._known = claim.samples
        self._arrived_at = 0.0
        self._buffer = np.zeros(0, np.int16)
        self.next_frame = claim.next_frame
        self._decoded: asyncio.Queue[NDArray[np.int16] | UndecodableAudio | None] = asyncio.Queue()
        self._room = threading.Semaphore(BLOCKS_AHEAD)
        self._replayed = self._received = 0  # bytes
        self._seconds = 0.0  # decoded
        self._loop = asyncio.get_running_loop()
        self._decoder = WebmDecoder(self._deliver)
        self._pump = asyncio.create_task(self._journal_decoded())

    async def replay(self) -> None:
        """Decode what earlier connections received."""
        async for frame in self._store.frames(self._session, Codec.WEBM):
            self._arrived_at = frame.arrived_at
            self._replayed += len(frame.data)
            self._received += len(frame.data)
            self._decoder.feed(frame.data)

    async def take(self, number: int, payload: bytes, arrived_at: float) -> int:
        """See `Recording`."""
        if self._pump.done():
            await self._pump
            if number >= self.next_frame:
                raise UndecodableAudio("its webm stream is over, and more comes after it")
        if number >= self.next_frame and self._received + len(payload) > MOST_BYTES:
            raise Refused(Close.TOO_LARGE, TOO_MUCH)
        if self._received - self._decoder.waiting > BYTES_BESIDES + BYTES_A_SECOND * self._seconds:
            raise UndecodableAudio("its webm holds far more bytes than the sound in it takes")
        frame = Frame(number, payload, arrived_at)
        expected, _ = await self._store.append(self._session, self._claim.connection, Codec.WEBM, frame)
        if number >= self.next_frame:
            self._arrived_at = arrived_at
            self._received += len(payload)
            self._decoder.feed(payload)
            self.next_frame = expected
        return expected

    async def keep_pace(self) -> None:
        """See `Recording`. Whoever sends for long what no browser does is read no faster than may be kept."""
        await self._journal.keep_pace()
        early = (self._received - BYTES_BESIDES) / BYTES_A_SECOND - (time.time() - self._created_at)
        if early > 0 and not self._pump.done():
            await asyncio.sleep(early)
        while self._decoder.waiting > self._replayed + BYTES_AHEAD and not self._pump.done():  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    async def stop(self) -> float:
        """See `Recording`."""
        self._decoder.finish()
        await self._pump
        return await self._journal.stop()

    async def leave(self) -> None:
        """See `Recording`."""
        # First: what the decoder gives up when cut off would not come out the same way again.
        await tasks.end(self._pump)
        self._decoder.abandon()
        self._room.release(BLOCKS_AHEAD)  # the decoder's thread may wait for it

    def _deliver(self, block: NDArray[np.int16] | UndecodableAudio | None) -> None:
        """Of the decoder's thread, which waits here while it is far ahead of the journal."""
        self._room.acquire()
        self._loop.call_soon_threadsafe(self._decoded.put_nowait, block)

    async def _journal_decoded(self) -> None:
        while (block := await self._decoded.get()) is not None:
            self._room.release()
            if isinstance(block, UndecodableAudio):
                raise block
            self._seconds += len(block) / SAMPLE_RATE
            fresh = block[min(self._known, len(block)) :]
            self._known -= len(block) - len(fresh)
            self._buffer = np.concatenate([self._buffer, fresh])
            while len(self._buffer) >= FRAME_SAMPLES:
                await self._flush(FRAME_SAMPLES)
                await self._journal.keep_pace()
        if len(self._buffer):
            await self._flush(len(self._buffer))

    async def _flush(self, samples: int) -> None:
        frame, self._buffer = self._buffer[:samples], self._buffer[samples:]
        await self._journal.add(self._journal.next_frame, frame.astype("<i2").tobytes(), self._arrived_at)
