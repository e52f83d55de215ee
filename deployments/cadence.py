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

import sys
import time
from collections import deque
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

import psutil

from deployments.lag import LATELY, Lag

MOST: Final = 3  # hops
SETTLING: Final = 2 * LATELY  # s until a change can be seen: what was journalled before is heard as it was meant to be
CALM, MOST_CALM = 30.0, 120.0  # s without strain after which one fewer is heard together; twice that if it was too soon
ROOM: Final = 0.5  # of the lag that is too much, below which there may be room for more
FEW: Final = 8  # who talk: where they are no more, it does not matter how busy the processors are
SPARE: Final = 0.72  # of all processors, up to which one fewer may be heard together, though that takes more of them
SAMPLE: Final = 2.0  # s over which that is taken
SAMPLES: Final = 5  # that tell how many more there is room for, by the second busiest: chance would let in too many
IN_EARNEST: Final = ("user", "system", "irq", "softirq", "steal")  # not `nice`: that gives way to all of these
CGROUP: Final = Path("/sys/fs/cgroup")


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


class Processors:
    """How busy the processors are: what tells that a machine is nearly full before anything is late.

    Those of the machine; or those that this container may use, where it may not use all (cgroup v2).
    """

    def __init__(self, most: float) -> None:
        """`most`: the share of them up to which there is room for more; where that is all of them, there always is."""
        self._most = most
        self._samples: deque[float] = deque([0.0], maxlen=SAMPLES)
        self._used = 0.0
        self._taken_at = -inf
        self._in_earnest = False  # whether the last sample leaves out what gives way to all else, as recordings do
        self._talking_now = self._talking_since = self._talking_before = 0  # since, before: as two samples began

    @property
    def busy(self) -> float:
        """The share of them that was busy over the last SAMPLE seconds or more; 0 as long as that is not known."""
        now = time.monotonic()
        passed = now - self._taken_at
        if passed >= SAMPLE:
            if limited := _limited():
                before, (quota, self._used, self._in_earnest) = self._used, limited
                busy = (self._used - before) / (passed * quota)  # 0 the first time, for much has passed since
            else:
                busy, self._in_earnest = _busy(), sys.platform == "linux"  # see `aside`
            if passed > 2 * SAMPLE:  # nobody asked for a while: what was before it tells nothing any more
                self._samples.clear()
                self._talking_since = 0
            self._samples.append(max(0.0, busy))  # a container's two counts need not be of the same moment
            self._taken_at = now
            self._talking_before, self._talking_since = self._talking_since, self._talking_now
        return self._samples[-1]

    def room(self, talking: int) -> float:
        """For how many more there is room now that so many talk; infinity where nobody knows.

        Each is reckoned to take as much as those who do, with whatever else the machine does. What those take who have
        just come is not to be seen yet.
        """
        self._talking_now = talking
        latest, second = self.busy, sorted(self._samples)[-2:][0]
        if not (latest and second and self._in_earnest) or self._most >= 1:
            return inf
        carried = self._most * self._talking_before / latest if self._talking_before else inf
        return min(talking * (self._most / second - 1), carried - talking)


def _busy() -> float:
    """The share of the machine's processors that was busy since this was asked last; 0 the first time."""
    percent = psutil.cpu_times_percent()
    return float(sum(getattr(percent, name, 0.0) for name in IN_EARNEST) / 100)  # not all systems tell all of them


def _limited() -> tuple[float, float, bool] | None:
    """How many processors this container may use, for how many seconds it has, and whether those are in earnest.

    It is told what gave way to all else since Linux 6.13. None where nothing limits it.
    """
    try:
        most, period = (CGROUP / "cpu.max").read_text().split()
        told = dict(line.split() for line in (CGROUP / "cpu.stat").read_text().splitlines())
        used = int(told["usage_usec"]) - int(told.get("nice_usec", 0))
        return int(most) / int(period), used / 1e6, "nice_usec" in told
    except (OSError, ValueError, KeyError):  # there is no such file, or it says "max"
        return None
