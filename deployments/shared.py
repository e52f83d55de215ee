"""What one call finds out for all who ask: one look, not one for each of a crowd."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")


class Shared(Generic[Answer]):
    """What one call finds out, for all who ask at once or within `seconds`. Who stops waiting stops nobody else."""

    def __init__(self, find: Callable[[], Awaitable[Answer]], seconds: float) -> None:
        self._find = find
        self._seconds = seconds
        self._found_at = 0.0
        self._finding: asyncio.Future[Answer] | None = None

    async def __call__(self) -> Answer:
        """What was found. Raises what finding it out has raised."""
        if self._finding is None or (self._finding.done() and time.monotonic() > self._found_at + self._seconds):
            self._finding = asyncio.ensure_future(self._find())
            self._finding.add_done_callback(self._found)
        return await asyncio.shield(self._finding)

    def _found(self, finding: asyncio.Future[Answer]) -> None:
        self._found_at = time.monotonic()
        look_at(finding)


def look_at(task: asyncio.Future[Any]) -> None:
    """Look at what it has raised, so that the loop does not complain that nobody did."""
    if not task.cancelled():
        task.exception()
