"""Joins the calls of many sessions into few: a call costs as much as hearing several of the windows that it carries."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item, Answer]):
    item: Item
    answer: asyncio.Future[Answer]
    until: float  # of the loop's time: longer it need not wait for company


class Gatherer(Generic[Item, Answer]):
    """Collects items while a call is under way, and for `company` seconds before one, unless everybody is here already.

    `call` answers a list of items one to one. Items that weigh at most `size` in all go in a call (larger ones only add
    delay), and a second one begins beside the first, up to `in_flight` of them, where a whole one waits. A call that
    fails fails for all of its items. `crowd` tells how many might ask at once: whoever is alone has nobody to wait for.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        company: float = 0.0,
        crowd: Callable[[], int] = lambda: 1,
        size: int = 16,
        weight: Callable[[Item], int] = lambda _: 1,
        in_flight: int = 2,
    ) -> None:
        self._call = call
        self._company = company
        self._crowd = crowd
        self._size = size
        self._weight = weight
        self._load = 0  # of all that wait
        self._in_flight = in_flight
        self._waiting: deque[_Waiting[Item, Answer]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None

    def __call__(self, item: Item) -> asyncio.Future[Answer]:
        """The answer to one item, in a while."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._load += self._weight(item)
        self._waiting.append(_Waiting(item, answer, loop.time() + self._company))
        loop.call_soon(self._send)  # after all who are about to ask now, as those do who were answered together
        return answer

    def _send(self) -> None:
        """Send what has no reason to wait any longer."""
        while self._waiting and len(self._under_way) < self._in_flight and self._ready():
            batch = self._batch()
            # It is nobody's own: what it logs bears no session, and it does not end with whoever began it.
            call = asyncio.get_running_loop().create_task(self._ask(batch), context=Context())
            self._under_way.add(call)
            call.add_done_callback(self._answered)

    def _batch(self) -> list[_Waiting[Item, Answer]]:
        """The first of those that wait, and the next as far as they fit in one call."""
        batch = [self._waiting.popleft()]
        load = self._weight(batch[0].item)
        while self._waiting and load + (weight := self._weight(self._waiting[0].item)) <= self._size:
            batch.append(self._waiting.popleft())
            load += weight
        self._load -= load
        return batch

    def _ready(self) -> bool:
        """Whether a call is worth it now. Where only time will tell, an alarm is set."""
        if self._load >= self._size:
            return True
        if self._under_way:
            return False
        loop = asyncio.get_running_loop()
        until = self._waiting[0].until
        if len(self._waiting) >= self._crowd() or until <= loop.time():
            return True
        if self._alarm is None:
            self._alarm = loop.call_at(until, self._rung)
        return False

    def _rung(self) -> None:
        self._alarm = None
        self._send()

    def _answered(self, call: asyncio.Task[None]) -> None:
        self._under_way.discard(call)
        self._send()

    async def _ask(self, batch: Sequence[_Waiting[Item, Answer]]) -> None:
        try:
            answers = await self._call([waiting.item for waiting in batch])
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(answer)
        except BaseException as error:  # a call that is cancelled has no answers either
            told = error if isinstance(error, Exception) else RuntimeError("the call was cancelled")
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(told)
            if told is not error:
                raise
