"""Writes down that the reader of a document looks at a session, for as long as they do."""

from __future__ import annotations

import asyncio

from redis.exceptions import RedisError

from pipeline.looks import AGAIN, Looks
from pipeline.session import Role

RETRY_SECONDS = 5.0


class Looking:
    """One look at a time, from `at` to `end`."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._task: asyncio.Task[None] | None = None

    def at(self, session: str, role: Role) -> None:
        """Somebody with such a key begins to look at the page."""
        self.end()
        self._task = asyncio.create_task(self._note(session, role))

    def end(self) -> None:
        """They look no more; once more changes nothing."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _note(self, session: str, role: Role) -> None:
        while True:
            try:
                await self._looks.note(session, role, "page")
                await asyncio.sleep(AGAIN)
            except RedisError:  # the page says so already
                await asyncio.sleep(RETRY_SECONDS)
