"""Room for a few at once in one replica, not all of it for one address: what a caller may do slowly takes room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.quotas import from_address


class NoPlace(RuntimeError):
    """Everybody together has as many places as there are."""


class Crowded(RuntimeError):
    """One address has as many places as it may have."""


class Room:
    """Who has a place, by address."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._taken.total()

    @contextmanager
    def place(self, address: str, most: int, most_each: int) -> Iterator[None]:
        """Have one of `most` places, of which an address has `most_each`. Raises `Crowded` and `NoPlace`."""
        caller = from_address(address)
        if self._taken[caller] >= most_each:
            raise Crowded
        if len(self) >= most:
            raise NoPlace
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]
