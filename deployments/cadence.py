"""How many hops are heard together: what gives way when a machine is full, before anybody has to wait for long.

Hearing two hops at once costs less than hearing one after the other, for their emotion is read once and every step on
the way is taken once. What is told then comes every second in place of twice a second; nothing of it is lost. Where
even that is not enough, three are heard together; of four the first would be old before it was heard at all. Nobody
comes in besides meanwhile: what is saved is kept for those who are here, for a machine's slower moments.

What is heard together takes longer, so its delay tells little of whether fewer would do: there the processors do. They
also tell how many more there is room for while nobody is late yet, by what those who are here take of them. Not all is
given away: whoever came last would make everybody late, and even refusing people costs something.

A session actor decides it for all of its sessions. It takes effect with the frames that the ingress journals from then
on: what the journal says is what is heard, now and in a replay.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import Final

from deployments.lag import LATELY, Lag
from deployments.processors import Processors

MOST: Final = 3  # hops
SETTLING: Final = 2 * LATELY  # s until a change can be seen: what was journalled before is heard as it was meant to be
CALM, MOST_CALM = 30.0, 120.0  # s without strain after which one fewer is heard together; twice that if it was too soon
ROOM: Final = 0.5  # of the lag that is too much, below which there may be room for more
FEW: Final = 8  # who talk: where they are no more, it does not matter how busy the processors are
SPARE: Final = 0.72  # of all processors, up to which one fewer may be heard together, though that takes more of them


@dataclass(frozen=True, slots=True)
class Pace:
    """What a session actor can do at the moment.

    `hops`: how many are to be heard together; `full`: whether nobody should come besides; `nearly_full`: whether a few
    should at most; `room`: for how many the processors have room, as far as is known; `talking`: how many talk.
    """

    hops: int = 1
    full: bool = False
    nearly_full: bool = False
    room: float = inf
    talking: int = 0


class Cadence:
    """Finds the `Pace` by how late those who talk are heard."""

    def __init__(self, max_lag: float, max_busy: float) -> None:
        """`max_lag`: seconds that are too much; `max_busy`: the share of the processors that is given away."""
        self._lag = Lag()
        self._max_lag = max_lag
        self._max_busy = max_busy
        self._hops = 1
        self._calm = CALM
        self._heard_at = self._late_at = self._strained_at = self._changed_at = self._eased_at = -inf
        self._processors = Processors(max_busy)

    def note(self, arrived_at: float, together: int) -> None:
        """So many hops were heard together, in no `Haste`, the last of which arrived at a Unix time."""
        now = time.monotonic()
        self._hops = self.hops
        self._heard_at = now
        self._lag.note(arrived_at, together)
        lag = self._lag.seconds
        if lag > ROOM * self._max_lag:
            self._late_at = now
        if lag > self._max_lag or (lag > ROOM * self._max_lag and self._processors.busy > SPARE):
            self._strained_at = now
        if lag > self._max_lag and self._hops < MOST and now - self._changed_at >= SETTLING:
            too_soon = now - self._eased_at < 2 * CALM
            self._calm = min(2 * self._calm, MOST_CALM) if too_soon else CALM
            self._hops, self._changed_at = self._hops + 1, now
        elif self._hops > 1 and now - max(self._changed_at, self._strained_at) >= self._patience:
            self._hops, self._changed_at, self._eased_at = self._hops - 1, now, now

    @property
    def _patience(self) -> float:
        """Seconds without strain after which one fewer is heard together; it need not be tried where most have left."""
        most_have_left = 0 < self._hops * self._processors.busy < SPARE
        return SETTLING if most_have_left else self._calm

    @property
    def hops(self) -> int:
        """How many are to be heard together now: 1 where nobody has talked lately."""
        return 1 if time.monotonic() - self._heard_at > LATELY else self._hops

    def pace(self, talking: int) -> Pace:
        """As it is now that so many talk. Where nobody has lately, there is room."""
        now = time.monotonic()
        if now - self._heard_at > LATELY:
            return Pace(talking=talking)
        late = self._lag.seconds > self._max_lag
        many = talking > FEW
        room = self._processors.room(talking) if many else inf
        full = late or self._hops > 1 or room < 1
        nearly_full = full or now - self._late_at < CALM or (many and self._processors.busy > self._max_busy)
        return Pace(self._hops, full, nearly_full, room, talking)
