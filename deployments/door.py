"""A replica's door: how fast newcomers come in, so that what they cost is seen before the next ones do.

How late hearing is tells that a machine is full, but only some seconds after it was filled, and its processors tell of
nobody who has just come. So a few may come at once, and then as many as a quarter of those who are there, but only half
of those for whom there seems to be room; and a few at a time where hearing was late. The others wait their turn, which
takes seconds, in the order in which they came.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from deployments.lag import LATELY

AT_EASE: Final = 8, 1 / 4  # newcomers within LATELY, at least; and as a share of those who are there
NEARLY_FULL: Final = 2, 1 / 16
OF_ROOM: Final = 1 / 2  # at most, of what seems to be left
PATIENCE: Final = 8.0  # s at the door; recorders give a line ten to be welcomed
LOOK: Final = 0.1  # s between two looks at whether there is room


class Inside(Protocol):
    """Who is there (`deployments.pool.SessionPool`), and whether there is room for more."""

    @property
    def people(self) -> int:
        """How many are there, by whichever door they came."""
        ...

    async def look(self) -> None:
        """Find out how it is inside, where nobody has said so lately."""
        ...

    @property
    def full(self) -> bool:
        """There is room for nobody."""
        ...

    @property
    def nearly_full(self) -> bool:
        """There may be room for a few."""
        ...

    @property
    def room(self) -> float:
        """For how many there seems to be."""
        ...


class Door:
    """Lets the recorders of new sessions in one after another."""

    def __init__(self) -> None:
        self._came: dict[str, float] = {}  # lines and when, in monotonic seconds, the oldest first
        self._turn = asyncio.Lock()  # which is given to whoever has waited for it longest

    async def admits(self, line: str, inside: Inside) -> bool:
        """Wait for the turn of a newcomer's connection; says whether it came within PATIENCE."""
        try:
            async with asyncio.timeout(PATIENCE), self._turn:
                await inside.look()
                while not self._room(inside):
                    await asyncio.sleep(LOOK)
                    await inside.look()
                self._came[line] = time.monotonic()
        except TimeoutError:
            return False
        return True

    def left(self, line: str) -> None:
        """A connection has gone, and costs nothing any more."""
        self._came.pop(line, None)

    def _room(self, inside: Inside) -> bool:
        now = time.monotonic()
        self._came = {other: at for other, at in self._came.items() if now - at < LATELY}
        if inside.full:
            return False
        least, share = NEARLY_FULL if inside.people >= AT_EASE[0] and inside.nearly_full else AT_EASE
        return len(self._came) < min(max(least, share * inside.people), OF_ROOM * inside.room)
