"""How many hops are heard together: what gives way when a machine is full, before anybody has to wait for long.

Hearing two hops at once costs less than hearing one after the other, for their emotion is read once and every step on
the way is taken once. What is told then comes every second in place of twice a second; nothing of it is lost. Where
even that is not enough, three are heard together; of four the first would be old before it was heard at all. Nobody
comes in besides meanwhile, until hearing has been in time for a while: what is saved is kept for those who are here.
Three are a reserve for a machine's slower moments: where newcomers took it, those moments would have nothing left.

What is heard together takes longer, so its delay tells little of whether fewer would do: there the processors do.

A session actor decides it for all of its sessions. It takes effect with the frames that the ingress journals from then
on: what the journal says is what is heard, now and in a replay.
"""

from __future__ import annotations

import time
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
SURE: Final = 15.0  # s for which it must have been below that, where hops are heard together, before anybody comes in
BUSY: Final = 0.75  # of all processors, from which on newcomers come in a few at a time
SPARE: Final = 0.65  # of them, up to which there may be enough left for hearing one fewer together
SAMPLE: Final = 2.0  # s over which that is taken
CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Pace:
    """What a session actor can do at the moment.

    `hops`: how many are to be heard together; `full`: whether there is room for nobody else; `nearly_full`: whether
    there is for a few at most; `talking`: how many talk.
    """

    hops: int = 1
    full: bool = False
    nearly_full: bool = False
    talking: int = 0


class Cadence:
    """Finds the `Pace` by how late those who talk are heard."""

    def __init__(self, max_lag: float) -> None:
        """`max_lag`: seconds that are too much."""
        self._lag = Lag()
        self._max_lag = max_lag
        self._hops = 1
        self._calm = CALM
        self._heard_at = self._late_at = self._strained_at = self._changed_at = self._eased_at = -inf
        self._processors = Processors()

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
        elif self._hops > 1 and now - max(self._changed_at, self._strained_at) >= self._calm:
            self._hops, self._changed_at, self._eased_at = self._hops - 1, now, now

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
        if self._lag.seconds > self._max_lag:
            return Pace(self._hops, full=True, nearly_full=True)
        unknown = now - self._changed_at < LATELY  # whether there is room since the last change
        hardly_any = now - self._late_at < SURE  # for those who are here must be heard at the machine's slower moments
        nearly_full = now - self._late_at < CALM or self._processors.busy > BUSY
        full = self._hops == MOST or (self._hops > 1 and (unknown or hardly_any))
        return Pace(self._hops, full, nearly_full)


class Processors:
    """How busy the processors are: what tells that a machine is nearly full before anything is late.

    Those of the machine, or those that this container may use, where it may not use all (cgroup v2).
    """

    def __init__(self) -> None:
        self._busy = self._used = 0.0
        self._taken_at = -inf

    @property
    def busy(self) -> float:
        """The share of them that was busy over the last SAMPLE seconds or more; 0 as long as that is not known."""
        now = time.monotonic()
        passed = now - self._taken_at
        if passed >= SAMPLE:
            if limited := _limited():
                before, (quota, self._used) = self._used, limited
                self._busy = (self._used - before) / (passed * quota)  # 0 the first time, for much has passed since
            else:
                self._busy = psutil.cpu_percent() / 100
            self._taken_at = now
        return self._busy


def _limited() -> tuple[float, float] | None:
    """How many processors this container may use, and for how many seconds it has; None where nothing limits it."""
    try:
        most, period = (CGROUP / "cpu.max").read_text().split()
        told = dict(line.split() for line in (CGROUP / "cpu.stat").read_text().splitlines())
        return int(most) / int(period), int(told["usage_usec"]) / 1e6
    except (OSError, ValueError, KeyError):  # there is no such file, or it says "max"
        return None
