"""What those who watch a session are told when hearing halts, when it goes on, and what it goes on without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from redis.exceptions import RedisError

from pipeline.events import Warned
from pipeline.store import SessionStore

PATIENCE: Final = 3.0  # s that a frame may take to be heard before somebody is told
STUCK: Final = Warned(
    code="stuck",
    message="Hearing has come to a halt. The sound is safe, and hearing goes on by itself as soon as it can.",
)
RESUMED: Final = Warned(
    code="resumed", message="Hearing was interrupted and has gone on where it was. Nothing that arrived was lost."
)


class Halts:
    """Tells of the halts of one session, by warnings that belong to no step."""

    def __init__(self, store: SessionStore, session: str) -> None:
        self._store = store
        self._session = session
        self._telling: asyncio.Task[None] | None = None
        self._told: set[str] = set()

    async def once(self, warning: Warned) -> None:
        """Tell of what is so from the start on; not again where the conversation is brought back once more."""
        if warning.code not in self._told:
            self._told.add(warning.code)
            await self._warn(warning)

    async def stuck(self) -> None:
        """Hearing has halted."""
        await self._warn(STUCK)

    async def resumed(self) -> None:
        """Hearing goes on after something had died."""
        await self._warn(RESUMED)

    @asynccontextmanager
    async def noticed(self) -> AsyncIterator[None]:
        """Tell of it when the block takes long, as one does that waits for a model to come back."""
        telling = asyncio.get_running_loop().call_later(PATIENCE, self._tell_stuck)
        try:
            yield
        finally:
            telling.cancel()

    def _tell_stuck(self) -> None:
        self._telling = asyncio.create_task(self.stuck())  # kept, or it could be collected before it is done

    async def _warn(self, warning: Warned) -> None:
        with suppress(RedisError):  # then nobody can be told, nor would anybody be there to hear it
            await self._store.warn(self._session, warning)


class Owed:
    """What an actor owes a recording: an answer to each frame.

    An actor that has died tells nobody that hearing has halted. Whoever waits for it does, once nothing has been
    answered for so long.
    """

    def __init__(self, halts: Halts) -> None:
        self._halts = halts
        self._answers = 0  # that are owed
        self._silence: asyncio.TimerHandle | None = None  # while any is
        self._telling: asyncio.Task[None] | None = None

    def expect(self, answer: asyncio.Future[int]) -> None:
        """One more answer is owed."""
        self._answers += 1
        answer.add_done_callback(self._answered)
        if self._silence is None:
            self._wait()

    def _answered(self, _: asyncio.Future[int]) -> None:
        self._answers -= 1
        if self._silence:
            self._silence.cancel()
            self._silence = None
        if self._answers:
            self._wait()

    def _wait(self) -> None:
        self._silence = asyncio.get_running_loop().call_later(PATIENCE, self._tell)

    def _tell(self) -> None:
        self._telling = asyncio.create_task(self._halts.stuck())
