"""How far hearing is behind those who talk: what tells that a machine is full before anybody has to wait for long."""

from __future__ import annotations

import time
from collections import deque
from statistics import median
from typing import Final

from pipeline.timeline import HOP_SECONDS

LATELY: Final = 5.0  # s that the figure is about
HASTE: Final = HOP_SECONDS / 2  # s after the one before it; a hop that arrives sooner is sent faster than it was spoken
FEW: Final = 4  # hops, of which one that is late by chance would tell too much


class Lag:
    """The median, over the hops of the last LATELY seconds, of the time from a hop's arrival to its being heard.

    Sound that is sent faster than it was spoken, as a file is, or what a recorder has kept while its line was broken,
    waits for itself. That says nothing of the machine, and does not count.
    """

    def __init__(self) -> None:
        self._heard: deque[tuple[float, float]] = deque()

    def note(self, arrived_at: float, before: float, together: int = 1) -> None:
        """So many hops were heard together, the last of which arrived at a Unix time, and the one before at another."""
        if arrived_at - before >= HASTE * together:
            self._heard.extend([(time.monotonic(), time.time() - arrived_at)] * together)

    @property
    def seconds(self) -> float:
        """The median; 0 while hardly anybody talks."""
        while self._heard and self._heard[0][0] < time.monotonic() - LATELY:
            self._heard.popleft()
        return max(0.0, median(lag for _, lag in self._heard)) if len(self._heard) >= FEW else 0.0
