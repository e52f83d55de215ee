"""A session in an actor's memory: what waits to be done for it, who waits for that, and who was asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from deployments.halts import Halts
from deployments.second_opinion import Asking
from pipeline.corrections import Correction
from pipeline.session import Frame, UnknownSession

LOOK_SECONDS: Final = 10.0  # while nobody says anything, between two looks whether the session is still there


@dataclass
class End:
    """Asks a conversation to conclude; `heard` gets its length in seconds."""

    heard: asyncio.Future[float]


@dataclass
class Correcting:
    """Asks for a correction; `token` makes known one that was asked for before."""

    correction: Correction
    token: str
    done: asyncio.Future[None]

    def answer(self, error: Exception | None = None) -> None:
        """Say that it has taken effect, or why it has not."""
        if self.done.done():
            return
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)


@dataclass
class Answered:
    """The other diariser has answered; `Live.asking` knows what."""


Asked = Frame | End | Correcting | Answered


@dataclass
class Live:
    """What waits to be done, what is being done, the task that does it, and what another diariser is being asked.

    `halts`: through whom those who watch are told when hearing halts.
    """

    halts: Halts
    inbox: asyncio.Queue[Asked] = field(default_factory=asyncio.Queue)
    doing: Asked | None = None
    task: asyncio.Task[None] | None = None
    asking: Asking | None = None
    heard_at: float = field(default_factory=time.monotonic)

    async def next(self, patience: float, there: Callable[[], Awaitable[None]]) -> Asked | None:
        """What came next, or None when the recorder has been away for so long that it is not expected back.

        Meanwhile `there` is asked every `LOOK_SECONDS`, and may raise what ends the waiting.
        """
        while self.inbox.empty() and (left := self.heard_at + patience - time.monotonic()) > 0:
            with suppress(TimeoutError):
                return await asyncio.wait_for(self.inbox.get(), min(left, LOOK_SECONDS))
            await there()
        return None if self.inbox.empty() else self.inbox.get_nowait()

    def ask(self, asking: Asking) -> None:
        """Wait for another diariser's answer, which takes its turn among all that is to be done."""
        self.asking = asking
        asking.answer.add_done_callback(lambda _: self.inbox.put_nowait(Answered()))

    def stop_asking(self) -> None:
        """Nobody is there any more for whom the answer would matter."""
        if self.asking:
            self.asking.answer.cancel()

    def refuse(self, first: Asked | None, error: Exception) -> Asked | None:
        """Tell everyone who waits for a correction that it cannot be made now; all else goes on waiting.

        Returns what still comes first.
        """
        waiting = [first, *(self.inbox.get_nowait() for _ in range(self.inbox.qsize()))]
        for item in waiting:
            if isinstance(item, Correcting):
                item.answer(error)
        for item in waiting[1:]:
            if item and not isinstance(item, Correcting):
                self.inbox.put_nowait(item)
        return None if isinstance(first, Correcting) else first

    def answer(self, first: Asked | None, answer: float | UnknownSession) -> None:
        """Give everyone who waits for the end the same answer; one may still correct what has ended."""
        waiting = [first]
        while not self.inbox.empty():
            waiting.append(self.inbox.get_nowait())
        for item in waiting:
            match item, answer:
                case End(), UnknownSession() if not item.heard.done():
                    item.heard.set_exception(answer)
                case End(), float() if not item.heard.done():
                    item.heard.set_result(answer)
                case Correcting(), UnknownSession():
                    item.answer(answer)
                case Correcting(), _:
                    self.inbox.put_nowait(item)
