"""Calls that carry many items: who waits for whom, and for how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

from deployments.gather import Gatherer
from deployments.lag import LATELY
from deployments.sessions import SessionActor

LONG = 10.0  # s of waiting for company, which a test that passes has not seen


class Calls:
    """A call that notes what it was given and ends when it is told to."""

    def __init__(self) -> None:
        self.given: list[list[int]] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.given.append(list(items))
        await self.may_end.wait()
        if 13 in items:
            raise ValueError("unlucky")
        return [-item for item in items]


async def answers(asked: Sequence[asyncio.Future[int]]) -> list[int]:
    async with asyncio.timeout(LONG / 2):
        return await asyncio.gather(*asked)


async def test_whoever_is_alone_waits_for_nobody() -> None:
    call = Calls()
    ask: Gatherer[int, int] = Gatherer(call, LONG, lambda: 1)
    assert [await answers([ask(number)]) for number in (1, 2)] == [[-1], [-2]]
    assert call.given == [[1], [2]]


async def test_nobody_waits_once_all_are_here() -> None:
    call = Calls()
    ask: Gatherer[int, int] = Gatherer(call, LONG, lambda: 3)
    first = [ask(1), ask(2)]
    await asyncio.sleep(0.02)
    assert call.given == []
    assert await answers([*first, ask(3)]) == [-1, -2, -3]
    assert call.given == [[1, 2, 3]]


async def test_who_does_not_come_is_not_waited_for_long() -> None:
    call = Calls()
    ask: Gatherer[int, int] = Gatherer(call, 0.02, lambda: 9)
    assert await answers([ask(1), ask(2)]) == [-1, -2]
    assert call.given == [[1, 2]]


async def test_a_second_call_begins_beside_the_first_only_where_a_whole_one_waits() -> None:
    call = Calls()
    call.may_end.clear()
    ask: Gatherer[int, int] = Gatherer(call, LONG, lambda: 2, size=3)
    asked = [ask(1), ask(2)]
    await asyncio.sleep(0)
    asked += [ask(3), ask(4)]
    await asyncio.sleep(0.02)
    assert call.given == [[1, 2]], "two more would go at once, were none under way"
    asked += [ask(number) for number in (5, 6, 7, 8)]
    await asyncio.sleep(0.02)
    assert call.given == [[1, 2], [3, 4, 5]], "and no third one beside them"
    call.may_end.set()
    assert await answers(asked) == [-number for number in range(1, 9)]
    assert call.given[2:] == [[6, 7, 8]]


async def test_a_call_that_fails_fails_for_all_of_its_items_and_for_no_others() -> None:
    ask: Gatherer[int, int] = Gatherer(Calls(), LONG, lambda: 2, size=2)
    asked = [ask(number) for number in (12, 13, 1, 2)]
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in told] == [ValueError, ValueError, int, int]


async def test_what_is_larger_fills_a_call_sooner() -> None:
    call = Calls()
    ask: Gatherer[int, int] = Gatherer(call, size=6, weight=lambda item: item)
    assert await answers([ask(item) for item in (3, 3, 3, 2, 9, 1)]) == [-3, -3, -3, -2, -9, -1]
    assert call.given == [[3, 3], [3, 2], [9], [1]]


async def test_who_has_stopped_asking_holds_nobody_up() -> None:
    call = Calls()
    ask: Gatherer[int, int] = Gatherer(call, LONG, lambda: 2)
    gone = ask(1)
    gone.cancel()
    assert await answers([ask(2)]) == [-2]


async def test_those_who_ask_in_one_breath_are_asked_for_together() -> None:
    call = Calls()
    ask: Gatherer[int, int] = Gatherer(call)
    assert await answers([ask(1), ask(2), ask(3)]) == [-1, -2, -3]
    assert call.given == [[1, 2, 3]]


async def test_a_call_that_is_cancelled_leaves_nobody_waiting() -> None:
    async def call(items: Sequence[int]) -> Sequence[int]:
        raise asyncio.CancelledError

    ask: Gatherer[int, int] = Gatherer(call)
    (told,) = await asyncio.gather(ask(1), return_exceptions=True)
    assert str(told) == "the call was cancelled"


async def test_a_call_belongs_to_none_of_those_it_is_made_for() -> None:
    whose: ContextVar[str] = ContextVar("whose", default="nobody's")

    async def call(items: Sequence[int]) -> Sequence[str]:
        return [whose.get() for _ in items]

    whose.set("mine")
    ask: Gatherer[int, str] = Gatherer(call)
    assert await ask(1) == "nobody's"


def test_an_actor_waits_for_those_who_talk_and_not_for_those_who_have_left() -> None:
    now = time.monotonic()
    heard_at = {"talks": now, "talks, too": now - LATELY / 2, "has left": now - 2 * LATELY}
    actor: Any = SimpleNamespace(_live={name: SimpleNamespace(heard_at=at) for name, at in heard_at.items()})
    assert SessionActor._crowd(actor) == 2
