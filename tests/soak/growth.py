"""What every process and Redis hold, and whether that grows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import psutil
from scipy.stats import theilslopes

from tests.service import Service

SETTLED: Final = 0.25  # of the time, before which whatever comes once has come
MOST_GROWTH: Final = 0.1  # as a share of what there was early, of what holds more than this besides:
# The threads of gRPC's servers and the connections of Redis's clients are as many as were ever busy at once: a few more
# now and then. One of either left behind by each session would be hundreds.
FLOORS: Final = {"memory, MB": 10.0, "files": 10.0, "threads": 10.0, "keys": 50.0}
# A worker of the queue, and Ray's idle ones, may come and go.
LASTING: Final = {"Diariser", "EmotionRecogniser", "Ingress", "ProxyActor", "Redis", "SessionActor", "ui.server"}

Look = dict[str, dict[str, float]]  # what each process and Redis held at an instant


@dataclass(frozen=True)
class Held:
    """What a process, or Redis, held of something: early and at the end, on the line through all that it held."""

    who: str
    what: str
    early: float
    late: float

    @property
    def growth(self) -> float:
        """As a share of what it was early."""
        return self.late / self.early - 1 if self.early else float(self.late > 0)

    @property
    def grew(self) -> bool:
        """Whether it holds more than can be chance: by its share, and by what that amounts to."""
        return self.growth > MOST_GROWTH and self.late - self.early > FLOORS[self.what]


def name_of(command: Sequence[str]) -> str:
    """What a process is, for people."""
    first = command[0]
    if "redis-server" in first:
        return "Redis"
    if first.startswith("ray::"):
        return first.removeprefix("ray::").removeprefix("ServeReplica:tonetrack:").partition(".")[0]
    modules = [part for before, part in pairwise(command) if before == "-m"]
    return modules[0] if modules else Path(next((part for part in command if part.endswith(".py")), first)).name


def living(service: Service) -> dict[str, list[int]]:
    """The ids of the processes that are to last, by name."""
    found: dict[str, list[int]] = defaultdict(list)
    for pid in sorted(service.processes()):
        with suppress(psutil.Error, IndexError):
            if (name := name_of(psutil.Process(pid).cmdline())) in LASTING:
                found[name].append(pid)
    return dict(found)


def look(service: Service) -> Look:
    """Memory (MB, RSS), file descriptors and threads of every process, by name, and what is in Redis.

    Resident memory, for what is unshared grows whenever some other service on the machine ends.
    """
    found: Look = defaultdict(lambda: defaultdict(float))
    for pid in service.processes():
        try:
            process = psutil.Process(pid)
            name = name_of(process.cmdline())
            found[name]["memory, MB"] += process.memory_info().rss / 1e6
            found[name]["files"] += process.num_fds()
            found[name]["threads"] += process.num_threads()
        except (psutil.Error, IndexError, StopIteration):
            continue
    with service.redis() as redis:
        found["data in Redis"] |= {"keys": redis.dbsize(), "memory, MB": redis.info("memory")["used_memory"] / 1e6}
    return found


def compared(looks: Sequence[Look]) -> list[Held]:
    """Early and late, for all that was there for all of the time from when it had settled.

    Both lie on the line with the median of all slopes (Theil 1950, Sen 1968; scipy's), which what was there for a
    moment alone does not tilt.
    """
    settled = looks[round(SETTLED * len(looks)) :]
    held = []
    for who in settled[-1]:
        for what in settled[-1][who]:
            values = [each[who][what] for each in settled if who in each]
            if len(values) == len(settled):
                slope, intercept, *_ = theilslopes(values)
                held.append(Held(who, what, float(intercept), float(intercept + slope * (len(values) - 1))))
    return held
