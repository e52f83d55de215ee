"""The recorder in Python, before a server that is full or says nothing; and what its requests cost besides."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

from deployments import client
from deployments.client import Recorder, RecordingRefused, Session
from deployments.protocol import Close, Failed, Stopped

Answer = Callable[[ServerConnection], Awaitable[None]]


class Door:
    """A server that gives its answers one line after another, and notes when each line came."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = iter(answers)
        self.came: list[float] = []

    async def __call__(self, line: ServerConnection) -> None:
        self.came.append(time.monotonic())
        await line.recv()
        await next(self._answers)(line)

    async def record(self, patient: bool) -> tuple[float, Recorder]:
        """What a recorder is told that has nothing to say."""
        async with serve(self, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            recorder = Recorder(Session(f"http://127.0.0.1:{port}", "s1", "key", "key"), patient=patient)
            return await recorder.record(nothing()), recorder


async def nothing() -> AsyncIterator[bytes]:
    return
    yield


async def busy(line: ServerConnection) -> None:
    await line.send(Failed(code="busy", message="All places are taken.").model_dump_json())


async def silent(line: ServerConnection) -> None:
    await line.wait_closed()


async def over(line: ServerConnection) -> None:
    await line.send(Stopped(seconds=2.5).model_dump_json())


async def test_a_full_server_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BUSY_WAIT", 1.0)
    door = Door(busy, over)
    seconds, recorder = await door.record(patient=True)
    assert (seconds, recorder.breaks, recorder.welcomed.is_set()) == (2.5, [Close.BUSY], False)
    first, second = door.came
    assert second - first >= 0.5


async def test_a_server_that_says_nothing_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It used to be waited for without end."""
    monkeypatch.setattr(client, "WELCOME_SECONDS", 0.1)
    async with asyncio.timeout(20):
        seconds, recorder = await Door(silent, over).record(patient=True)
    assert (seconds, recorder.breaks) == (2.5, [1006])


async def test_who_is_not_patient_is_told_why_and_goes() -> None:
    door = Door(busy)
    with pytest.raises(RecordingRefused, match="All places are taken") as refused:
        await door.record(patient=False)
    assert (refused.value.code, len(door.came)) == (Close.BUSY, 1)


async def test_whom_to_trust_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It used to be read for each request, for 30 ms, in which nobody of the same process could send any sound."""
    read = []
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: read.append(True) or ssl.create_default_context())
    client._authorities.cache_clear()
    session = Session("http://127.0.0.1:9", "s1", "key", "key")
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await session.erase()
    assert len(read) == 1
