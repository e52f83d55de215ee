"""How far hearing is behind those who talk: what tells that a machine is full before anybody has to wait for long."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Final

from pipeline.timeline import HOP_SECONDS

LATELY: Final = 5.0  # s that the figure is about
MOST_AHEAD: Final = 5.0  # s of haste that are remembered
FORGETTING: Final = 0.1  # of the time that passes, by which they are forgotten
FEW: Final = 4  # hops, of which one that is late by chance would tell too much


@dataclass
class Haste:
    """Whether a session's sound is sent faster than it was spoken, as a file is, or what was kept from a broken line.

    Such sound waits for itself, which says nothing of the machine.
    """

    ahead: float = 0.0  # s of sound that came lately beyond what can have been spoken
    arrived_at: float = 0.0  # of the newest hop, Unix time

    def hears(self, arrived_at: float, together: int) -> bool:
        """Take in that so many hops were heard together, the last of which arrived at a Unix time; says whether."""
        passed, self.arrived_at = arrived_at - self.arrived_at, arrived_at
        ahead = self.ahead + together * HOP_SECONDS - (1 + FORGETTING) * passed
        self.ahead = min(max(0.0, ahead), MOST_AHEAD)
        return self.ahead >= HOP_SECONDS


class Lag:
    """The median, over the hops of the last LATELY seconds, of the time from a hop's arrival to its being heard."""

    def __init__(self) -> None:
        self._heard: deque[tuple[float, float]] = deque()

    def note(self, arrived_at: float, together: int = 1) -> None:
        """So many hops were heard together, the last of which arrived at a Unix time."""
        self._heard.extend([(time.monotonic(), time.time() - arrived_at)] * together)

    @property
    def seconds(self) -> float:
        """The median; 0 while hardly anybody talks."""
        while self._heard and self._heard[0][0] < time.monotonic() - LATELY:
            self._heard.popleft()
        return max(0.0, median(lag for _, lag in self._heard)) if len(self._heard) >= FEW else 0.0
