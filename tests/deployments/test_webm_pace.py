"""Webm that decodes to hours is decoded no faster than it is heard, and nothing of it piles up."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from typing import Any, cast

import numpy as np
import pytest

import deployments.recording
from deployments.context import Context
from deployments.protocol import Close, Refused
from deployments.recording import (
    BACKLOG,
    BYTES_A_SECOND,
    BYTES_AHEAD,
    BYTES_BESIDES,
    Recording,
    open_recording,
)
from deployments.settings import Settings
from pipeline.audio import UndecodableAudio
from pipeline.session import Codec, SessionRequest
from pipeline.store import SessionStore
from tests.media.mutants import silent_cluster, webm_head
from tests.media.sounds import element

MEGABYTE = 2**20


class SlowEar:
    """Stands in for a session's actor that hears nothing at all."""

    def __init__(self) -> None:
        self.bytes = 0

    def hear(self, _: str, frame: Any) -> asyncio.Future[int]:
        self.bytes += len(frame.data)
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting.set_result(BACKLOG + 1)
        return waiting

    def cadence(self, _: str) -> int:
        return 1


async def recording(url: str, store: SessionStore) -> tuple[Recording, SlowEar, str]:
    session = (await store.create(SessionRequest(purpose="research", consent=True))).id
    ear = SlowEar()
    unused: Any = None
    context = Context(Settings(redis_url=url), store, cast(Any, ear), unused, unused, unused)
    return await open_recording(context, session, Codec.WEBM, None), ear, session


async def let_go(store: SessionStore, session: str) -> None:
    """Nobody is left behind."""
    await store.erase(session)
    async with asyncio.timeout(10):
        while any(thread.name == "webm" for thread in threading.enumerate()):
            await asyncio.sleep(0.05)


async def test_hours_of_silence_in_a_few_frames_wait_on_the_wire(url: str, store: SessionStore) -> None:
    """A frame of 64 KB holds twelve minutes. All of it was decoded at once, and lay in memory, Redis and the actor."""
    line, ear, session = await recording(url, store)
    clusters = b"".join(silent_cluster(start) for start in range(0, 3_600 * 4, 30))
    stream = webm_head() + clusters
    frames = [stream[start : start + 65_536] for start in range(0, len(stream), 65_536)]
    sound = 4 * 3_600 * 32_000  # bytes, once decoded
    assert len(stream) < MEGABYTE * 1.5
    tracemalloc.start()
    try:
        async with asyncio.timeout(4):
            for number, frame in enumerate(frames):
                await line.take(number, frame, 0.0)
                await line.keep_pace()
            await asyncio.sleep(60)
    except TimeoutError:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await line.leave()
    assert most < 24 * MEGABYTE < sound / 10
    assert 0 < ear.bytes < sound / 100
    await let_go(store, session)


async def test_a_recorder_that_sends_faster_than_is_decoded_waits(
    url: str, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, _, session = await recording(url, store)
    decoder = cast(Any, line)._decoder
    monkeypatch.setattr(type(decoder), "waiting", property(lambda _: BYTES_AHEAD + 1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await line.keep_pace()
    monkeypatch.undo()
    async with asyncio.timeout(5):
        await line.keep_pace()
    await line.leave()
    await let_go(store, session)


async def test_far_more_bytes_than_there_is_sound_in_them_are_not_kept(url: str, store: SessionStore) -> None:
    """What is neither sound nor the end of it can go on for ever, and all of it was journalled."""
    line, _, session = await recording(url, store)
    await line.take(0, webm_head() + silent_cluster(0.0), 0.0)
    nothing = element("ec", bytes(60_000))  # Void (RFC 8794, section 11.3.2)
    allowed = BYTES_BESIDES + 30 * BYTES_A_SECOND

    async def send() -> None:
        for number in range(1, 2 * allowed // len(nothing)):
            await line.take(number, nothing, 0.0)
            await asyncio.sleep(0.005)  # until it is decoded

    with pytest.raises(UndecodableAudio, match="more bytes than"):
        await send()
    kept = [frame async for frame in store.frames(session, Codec.WEBM)]
    assert BYTES_BESIDES < sum(len(frame.data) for frame in kept) < allowed + BYTES_AHEAD
    await line.leave()
    await let_go(store, session)


async def test_a_stream_comes_no_faster_than_it_may_be_kept(url: str, store: SessionStore) -> None:
    """Silence in it is heard many times as fast as time, and so many times as much of it was kept."""
    line, _, session = await recording(url, store)
    inside = cast(Any, line)
    inside._received = BYTES_BESIDES + 60 * BYTES_A_SECOND
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await line.keep_pace()
    inside._created_at -= 60  # whoever comes back after a broken line has much to send at once
    async with asyncio.timeout(5):
        await line.keep_pace()
    await line.leave()
    await let_go(store, session)


async def test_what_is_more_than_a_session_may_keep_is_refused(
    url: str, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was no end to it, and all of it lies in Redis until the session ends. What came before stands."""
    line, _, session = await recording(url, store)
    first = webm_head() + silent_cluster(0.0)
    monkeypatch.setattr(deployments.recording, "MOST_BYTES", len(first) + 10)
    assert await line.take(0, first, 0.0) == 1
    with pytest.raises(Refused, match=r"128 MiB of webm have come, and no more is taken") as refused:
        await line.take(1, bytes(11), 0.0)
    assert refused.value.code == Close.TOO_LARGE
    assert await line.take(0, first, 0.0) == 1
    assert [frame.data async for frame in store.frames(session, Codec.WEBM)] == [first]
    await line.leave()
    await let_go(store, session)


async def test_what_comes_after_the_end_of_a_stream_is_refused(
    url: str, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was journalled for ever, and nobody heard it."""
    line, _, session = await recording(url, store)
    await line.take(0, webm_head() + silent_cluster(0.0), 0.0)
    cast(Any, line)._deliver(np.zeros(10, np.int16))
    cast(Any, line)._deliver(None)
    await asyncio.wait({cast(Any, line)._pump})
    with pytest.raises(UndecodableAudio, match="webm stream is over"):
        await line.take(1, silent_cluster(30.0), 0.0)
    await line.leave()
    await let_go(store, session)
