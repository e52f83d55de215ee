"""How many hops are heard together: what gives way when a machine is full, before anybody has to wait for long.

Hearing two hops at once costs less than hearing one after the other, for their emotion is read once and every step on
the way is taken once. What is told then comes every second in place of twice a second; nothing of it is lost. Where
even that is not enough, four are heard together, and nobody is let in besides: that is kept for those who are here.
"""

from __future__ import annotations

import time
from math import inf
from typing import Final

from deployments.lag import LATELY

MOST: Final = 4  # hops
CALM: Final = 30.0  # s without delay after which half as many are heard together again
ROOM: Final = 0.5  # of the lag that is too much, below which there may be room for more


class Cadence:
    """How many hops the sessions of one actor hear together, by its `Lag`; every change is given time to tell."""

    def __init__(self, max_lag: float) -> None:
        """`max_lag`: seconds that are too much."""
        self.hops = 1
        self._max_lag = max_lag
        self._changed_at = self._late_at = self._heard_at = -inf

    def note(self, lag: float) -> None:
        """Hear of the seconds by which the actor is late now."""
        now = time.monotonic()
        if now - self._heard_at > LATELY:  # nobody talked meanwhile
            self.hops = 1
        self._heard_at = now
        if lag > ROOM * self._max_lag:
            self._late_at = now
        if lag > self._max_lag and self.hops < MOST and now - self._changed_at >= LATELY:
            self.hops, self._changed_at = 2 * self.hops, now
        elif self.hops > 1 and now - max(self._changed_at, self._late_at) >= CALM:
            self.hops, self._changed_at = self.hops // 2, now

    @property
    def full(self) -> bool:
        """Whether there is room for nobody else, or it is not known yet whether there is."""
        now = time.monotonic()
        if self.hops == 1 or now - self._heard_at > LATELY:  # or nobody talks any more
            return False
        return self.hops == MOST or now - max(self._changed_at, self._late_at) < LATELY
