"""How busy the processors are: what tells that a machine is nearly full before anything is late."""

from __future__ import annotations

import sys
import time
from collections import deque
from math import inf
from pathlib import Path
from typing import Final

import psutil

SAMPLE: Final = 2.0  # s that a sample takes
SAMPLES: Final = 5  # that tell how many more there is room for, by the second busiest: chance would let in too many
IN_EARNEST: Final = ("user", "system", "irq", "softirq", "steal")  # not `nice`: that gives way to all of these
CGROUP: Final = Path("/sys/fs/cgroup")


class Processors:
    """Those of the machine; or those that this container may use, where it may not use all (cgroup v2)."""

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
