"""How a recorder is slowed down that sends faster than is heard, and that no other is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from deployments import recording
from deployments.recording import BACKLOG, UNANSWERED, PcmRecording
from pipeline.session import Appended, Claim


class Actor:
    """An actor whose answers are given by hand: how many frames wait to be heard."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[int]] = []

    def hear(self, _session: str, _frame: Any) -> asyncio.Future[int]:
        self.asked.append(asyncio.get_running_loop().create_future())
        return self.asked[-1]

    def answer(self, waiting: int) -> None:
        for future in self.asked:
            if not future.done():
                future.set_result(waiting)


@pytest.fixture
def actor() -> Actor:
    return Actor()


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which the recorder was slowed down, which pass at once."""
    rests: list[float] = []
    sleep = asyncio.sleep

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        await sleep(0)

    monkeypatch.setattr(recording.asyncio, "sleep", rest)
    return rests


@pytest.fixture
def recorded(actor: Actor) -> PcmRecording:
    async def append(_session: str, _connection: str, _codec: Any, frame: Any) -> Appended:
        return Appended(frame.number + 1, True)

    pool = SimpleNamespace(cadence=lambda _: 1, hear=actor.hear)
    context: Any = SimpleNamespace(store=SimpleNamespace(append=append), pool=pool)
    return PcmRecording(context, "s", Claim("c", 0, 0, 0))


async def send(recorded: PcmRecording, frames: int) -> None:
    for _ in range(frames):
        recorded.next_frame = await recorded.take(recorded.next_frame, bytes(640), 0.0)
        await recorded.keep_pace()


async def test_a_recorder_need_not_wait_for_what_is_said_of_its_newest_frames(
    recorded: PcmRecording, rests: list[float]
) -> None:
    async with asyncio.timeout(5):
        await send(recorded, UNANSWERED)
    assert rests == []


async def test_but_not_for_ever(recorded: PcmRecording, actor: Actor) -> None:
    sending = asyncio.create_task(send(recorded, UNANSWERED + 9))
    async with asyncio.timeout(5):
        while len(actor.asked) <= UNANSWERED:
            await asyncio.sleep(0)
    assert not sending.done()
    actor.answer(0)
    while not sending.done():
        await asyncio.sleep(0)
        actor.answer(0)


async def test_what_was_said_before_it_was_slowed_down_slows_it_down_no_further(
    recorded: PcmRecording, actor: Actor, rests: list[float]
) -> None:
    await send(recorded, UNANSWERED)
    actor.answer(BACKLOG + 1)
    await send(recorded, 1)
    assert len(rests) == 1, "one answer of many that say the same"
    actor.answer(BACKLOG + 1)  # of the frame since
    await send(recorded, 1)
    actor.answer(BACKLOG + 1)
    await send(recorded, 1)
    assert len(rests) == 2
    actor.answer(BACKLOG)
    await send(recorded, 1)
    assert len(rests) == 2
