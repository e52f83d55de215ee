"""A session in an actor's memory: what waits to be done for it, who waits for that, and who was asked."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from deployments.halts import Halts
from deployments.second_opinion import Asking
from pipeline.corrections import Correction
from pipeline.session import Frame, UnknownSession


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

    async def next(self, patience: float) -> Asked | None:
        """What came next, or None when the recorder has been away for so long that it is not expected back."""
        left = self.heard_at + patience - time.monotonic()
        if not self.inbox.empty() or left <= 0:
            return None if self.inbox.empty() else self.inbox.get_nowait()
        try:
            return await asyncio.wait_for(self.inbox.get(), left)
        except TimeoutError:
            return None

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
