"""How a recorder is slowed down that is faster than hearing, that no other is, and who tells that an actor has died."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from deployments import halts, recording
from deployments.recording import BACKLOG, UNANSWERED, PcmRecording
from pipeline.events import Warned
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
def warned() -> list[str]:
    """What those who watch are warned of."""
    return []


@pytest.fixture
def recorded(actor: Actor, warned: list[str]) -> PcmRecording:
    async def append(_session: str, _connection: str, _codec: Any, frame: Any) -> Appended:
        return Appended(frame.number + 1, True)

    async def warn(_session: str, warning: Warned) -> None:
        warned.append(warning.code)

    pool = SimpleNamespace(cadence=lambda _: 1, hear=actor.hear)
    context: Any = SimpleNamespace(store=SimpleNamespace(append=append, warn=warn), pool=pool)
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


@pytest.mark.parametrize("frames", [1, UNANSWERED + 9], ids=["one frame", "more than may be unanswered"])
async def test_those_who_watch_are_told_once_that_an_actor_does_not_answer(
    recorded: PcmRecording, actor: Actor, warned: list[str], monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    """It cannot tell so itself once it has died, and Ray asks again until it is back."""
    monkeypatch.setattr(halts, "PATIENCE", 0.1)
    sending = asyncio.create_task(send(recorded, frames))
    await asyncio.sleep(0.5)
    assert warned == ["stuck"]
    async with asyncio.timeout(5):
        while not sending.done():
            actor.answer(0)
            await asyncio.sleep(0)
    actor.answer(0)
    await asyncio.sleep(0.3)
    assert warned == ["stuck"], "nothing is owed any more"
    await send(recorded, 1)
    await asyncio.sleep(0.3)
    assert warned == ["stuck", "stuck"], "it has halted again"
    actor.answer(0)


async def test_an_actor_that_goes_on_answering_has_not_halted(
    recorded: PcmRecording, actor: Actor, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halts, "PATIENCE", 0.5)
    await send(recorded, 10)
    for answered in range(10):  # something is always owed, for longer than that in all
        actor.asked[answered].set_result(0)
        await asyncio.sleep(0.1)
    assert warned == []
