"""Room for a few at once in one replica, not all of it for one: what may be done slowly takes room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class NoPlace(RuntimeError):
    """Everybody together has as many places as there are."""


class Crowded(RuntimeError):
    """One of them has as many places as it may have."""


class Room:
    """Who has a place."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._taken.total()

    @contextmanager
    def place(self, who: str, most: float, most_each: int) -> Iterator[None]:
        """Have one of `most` places, of which each has `most_each`. Raises `Crowded` and `NoPlace`."""
        if self._taken[who] >= most_each:
            raise Crowded
        if len(self) >= most:
            raise NoPlace
        self._taken[who] += 1
        try:
            yield
        finally:
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]
