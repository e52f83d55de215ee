"""The door through which newcomers come in: a few at once, then as they are heard."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import inf
from types import SimpleNamespace

import pytest

from deployments import door
from deployments.door import Door
from deployments.lag import LATELY


@dataclass
class Inside:
    people: int = 0
    full: bool = False
    nearly_full: bool = False
    room: float = inf
    looks: int = 0

    async def look(self) -> None:
        self.looks += 1


class Queue:
    """People who come to a door, and the clock that it looks at."""

    def __init__(self) -> None:
        self.door = Door()
        self.inside = Inside()
        self.now = 1_000.0
        self.let_in: list[str] = []
        self.sent_away: list[str] = []
        self._came: list[asyncio.Task[None]] = []

    async def come(self, *sessions: str) -> None:
        self._came += [asyncio.create_task(self._come(session)) for session in sessions]
        await self.passes(0)

    async def _come(self, session: str) -> None:
        if await self.door.admits(session, self.inside):
            self.let_in.append(session)
            self.inside.people += 1
        else:
            self.sent_away.append(session)

    async def passes(self, seconds: float) -> None:
        """Time does, and all at the door look whether it is their turn."""
        self.now += seconds
        for _ in range(4 * len(self._came)):
            await asyncio.sleep(0)

    async def are_all_gone(self) -> None:
        await asyncio.gather(*self._came)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    monkeypatch.setattr(door, "time", SimpleNamespace(monotonic=lambda: queue.now))
    monkeypatch.setattr(door, "LOOK", 0.0)
    return queue


def people(first: int, end: int) -> list[str]:
    return [f"{number:03d}" for number in range(first, end)]


async def test_a_rush_comes_in_as_it_is_heard_and_in_its_order(queue: Queue) -> None:
    rush = people(0, 40)
    await queue.come(*rush)
    assert queue.let_in == rush[:8]
    await queue.passes(LATELY - 0.1)
    assert queue.let_in == rush[:8]
    for there in (16, 24, 32, 40):
        await queue.passes(LATELY)
        assert queue.let_in == rush[:there]


async def test_where_many_are_more_may_come(queue: Queue) -> None:
    queue.inside.people = 100
    await queue.come(*people(0, 40))
    assert 25 <= len(queue.let_in) <= 34, "a quarter of those who are there, and of those who have come"


async def test_where_it_is_nearly_full_a_few_come_at_a_time(queue: Queue) -> None:
    queue.inside.people, queue.inside.nearly_full = 24, True
    await queue.come(*people(0, 8))
    assert len(queue.let_in) == 2
    await queue.passes(LATELY)
    assert len(queue.let_in) == 4
    queue.inside.nearly_full = False
    await queue.passes(0)
    assert len(queue.let_in) == 8


async def test_of_the_room_that_seems_to_be_left_half_is_given_away_at_a_time(queue: Queue) -> None:
    queue.inside.people, queue.inside.room = 24, 7.0
    await queue.come(*people(0, 10))
    assert len(queue.let_in) == 4
    queue.inside.room = 1.2
    await queue.passes(LATELY)
    assert len(queue.let_in) == 5, "whoever there is room for comes in"
    queue.inside.room = 400.0
    await queue.passes(LATELY)
    assert len(queue.let_in) == 10


async def test_a_busy_machine_lets_the_first_few_in_at_once(queue: Queue) -> None:
    queue.inside.nearly_full = True
    await queue.come(*people(0, 8))
    assert len(queue.let_in) == 8


async def test_where_it_is_full_they_wait_until_there_is_room(queue: Queue) -> None:
    queue.inside.full = True
    await queue.come("a", "b")
    assert queue.let_in == queue.sent_away == []
    assert queue.inside.looks
    queue.inside.full = False
    await queue.passes(0)
    assert queue.let_in == ["a", "b"]


async def test_nobody_waits_for_ever(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PATIENCE", 0.05)
    queue.inside.full = True
    await queue.come("a", "b")
    await queue.are_all_gone()
    assert queue.sent_away == ["a", "b"]
    queue.inside.full = False
    await queue.come("c")
    assert queue.let_in == ["c"], "who went away holds nobody up"


async def test_who_has_gone_takes_nobodys_turn(queue: Queue) -> None:
    rush = people(0, 10)
    await queue.come(*rush)
    assert queue.let_in == rush[:8]
    for session in rush[:2]:
        queue.door.left(session)
    await queue.passes(0)
    assert queue.let_in == rush
