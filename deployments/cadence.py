"""How many hops are heard together: what gives way when a machine is full, before anybody has to wait for long.

Hearing two hops at once costs less than hearing one after the other, for their emotion is read once and every step on
the way is taken once. What is told then comes every second in place of twice a second; nothing of it is lost. Where
even that is not enough, four are heard together, and nobody is let in besides: that is kept for those who are here.

A session actor decides it for all of its sessions. It takes effect with the frames that the ingress journals from then
on: what the journal says is what is heard, now and in a replay.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import Final

from deployments.lag import LATELY, Lag

MOST: Final = 4  # hops
SETTLING: Final = 2 * LATELY  # s until a change can be seen: what was journalled before is heard as it was meant to be
CALM: Final = 30.0  # s without delay after which half as many are heard together again
ROOM: Final = 0.5  # of the lag that is too much, below which there may be room for more


@dataclass(frozen=True, slots=True)
class Pace:
    """What a session actor can do at the moment.

    `hops`: how many are to be heard together; `full`: whether there is room for nobody else.
    """

    hops: int = 1
    full: bool = False


class Cadence:
    """Finds the `Pace` by how late those who talk are heard."""

    def __init__(self, max_lag: float) -> None:
        """`max_lag`: seconds that are too much."""
        self._lag = Lag()
        self._max_lag = max_lag
        self._hops = 1
        self._changed_at = self._late_at = self._heard_at = -inf

    def note(self, arrived_at: float, together: int) -> None:
        """So many hops were heard together, in no `Haste`, the last of which arrived at a Unix time."""
        now = time.monotonic()
        self._hops = self.hops
        self._heard_at = now
        self._lag.note(arrived_at, together)
        lag = self._lag.seconds
        if lag > ROOM * self._max_lag:
            self._late_at = now
        if lag > self._max_lag and self._hops < MOST and now - self._changed_at >= SETTLING:
            self._hops, self._changed_at = 2 * self._hops, now
        elif self._hops > 1 and now - max(self._changed_at, self._late_at) >= CALM:
            self._hops, self._changed_at = self._hops // 2, now

    @property
    def hops(self) -> int:
        """How many are to be heard together now: 1 where nobody has talked lately."""
        return 1 if time.monotonic() - self._heard_at > LATELY else self._hops

    @property
    def pace(self) -> Pace:
        """As it is now. Where nobody has talked lately, there is room."""
        now = time.monotonic()
        if now - self._heard_at > LATELY:
            return Pace()
        if self._lag.seconds > self._max_lag or self._hops == MOST:
            return Pace(self._hops, full=True)
        unknown = now - self._changed_at < LATELY  # whether there is room since the last change
        hardly_any = now - self._late_at < LATELY
        return Pace(self._hops, full=self._hops > 1 and (unknown or hardly_any))
