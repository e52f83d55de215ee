"""What a running service takes: processors by kind of process, memory, and what Redis does for it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import psutil

from tests.service import Service

# Kinds of processes by what their command lines hold; the first that fits counts.
KINDS = {
    ":Ingress": "ingress",
    ":Diariser": "diariser",
    ":EmotionRecogniser": "emotion recogniser",
    ":RecordingWorker": "recording worker",
    "SessionActor": "session actor",
    "Proxy": "proxy",
    "haproxy": "proxy",
    "redis-server": "Redis",
    "ui.server": "page",
}
OTHERS = "Ray"  # its controller, its daemons, its idle workers


def kind_of(command: str) -> str:
    """What a process of the service is, by its command line."""
    return next((kind for part, kind in KINDS.items() if part in command), OTHERS)


@dataclass(frozen=True)
class Usage:
    """Seconds of CPU that each process has taken, with its kind, up to a moment (of `time.monotonic`)."""

    at: float
    cpu: dict[int, tuple[str, float]]

    @classmethod
    def of(cls, service: Service) -> Usage:
        """All processes of a service that live now."""
        taken: dict[int, tuple[str, float]] = {}
        for pid, command in processes(service).items():
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.Error:
                continue
            taken[pid] = kind_of(command), times.user + times.system
        return cls(time.monotonic(), taken)

    @property
    def total(self) -> float:
        """Seconds of CPU of all of them."""
        return sum(taken for _, taken in self.cpu.values())

    def since(self, before: Usage) -> dict[str, float]:
        """Seconds of CPU between two moments, by kind. What a process took that ended in between is not known."""
        found: dict[str, float] = defaultdict(float)
        for pid, (kind, taken) in self.cpu.items():
            found[kind] += taken - before.cpu.get(pid, (kind, 0.0))[1]
        return dict(found)


def processes(service: Service) -> dict[int, str]:
    """Command lines of a service's processes, its first one included, by process id."""
    return {service.process.pid: "tonetrack up", **service.processes()}


def memory(service: Service) -> dict[str, float]:
    """MB that each kind of process holds, what processes share counted once (proportional set size)."""
    taken: dict[str, float] = defaultdict(float)
    for pid, command in processes(service).items():
        try:
            taken[kind_of(command)] += psutil.Process(pid).memory_full_info().pss / 1e6
        except psutil.Error:
            continue
    return dict(taken)


@dataclass(frozen=True)
class RedisUsage:
    """What Redis holds, in MB beyond its own needs, and what it has read, written and done so far."""

    dataset: float  # MB
    bytes_in: int
    bytes_out: int
    commands: int

    @classmethod
    def of(cls, service: Service) -> RedisUsage:
        """Up to now."""
        with service.redis() as redis:
            info = redis.info()
        return cls(
            info["used_memory_dataset"] / 1e6,
            info["total_net_input_bytes"],
            info["total_net_output_bytes"],
            info["total_commands_processed"],
        )

    def since(self, before: RedisUsage, talked: float) -> dict[str, float]:
        """For each of so many seconds of conversation: bytes in and out, commands."""
        done = {
            name: float(getattr(self, name) - getattr(before, name)) for name in ("bytes_in", "bytes_out", "commands")
        }
        return per_second(done, talked)


def per_second(taken: Mapping[str, float], talked: float) -> dict[str, float]:
    """What each of so many seconds of conversation took; endless where there was none."""
    return {name: amount / talked if talked else inf for name, amount in taken.items()}


def at_rest(service: Service, seconds: float) -> dict[str, float]:
    """GB of memory, and the share of a core, that a service takes while nobody talks."""
    before = Usage.of(service)
    time.sleep(seconds)
    after = Usage.of(service)
    return {
        "memory_gb": sum(memory(service).values()) / 1000,
        "cpu": sum(after.since(before).values()) / (after.at - before.at),
    }
