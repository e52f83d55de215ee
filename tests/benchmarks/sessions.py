"""What live sessions cost, and how many of them one machine carries: part of `make bench`.

    .venv/bin/python -m tests.benchmarks.sessions --quick

Starts a service of its own and has more and more synthetic conversations recorded at once, in real time, until what is
heard comes too late. Prints, for each number of them, how late it came, and what they took of processors, memory and
Redis beyond the service at rest. The recorders' own part is theirs, not the service's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from deployments.client import Recorder, Session, open_session
from deployments.recorder import lag_of
from pipeline.timeline import SAMPLE_RATE
from tests.service import Pcm, Service, frames, record, running_service
from tests.talkers import HIGH, LOW, conversation, small_talk

Say = Callable[[str], None]

STREAMS = (1, 8, 16, 24, 32, 40, 48, 56, 64)
MOST_SECONDS = 1.5  # that what is heard may come late, for 95 % of it, before a machine is called full
REST_SECONDS = 10.0
LONG_SECONDS = 900.0  # of a conversation that is recorded as fast as it is taken


@dataclass(frozen=True)
class Cost:
    """What so many sessions took. `memory` and `redis` are MB beyond the service at rest, towards the end."""

    sessions: int
    p50: float
    p95: float
    p99: float
    cpu: float  # seconds of all processes, for each second of conversation
    memory: float
    redis: float

    @property
    def carried(self) -> bool:
        """Whether nobody had to wait for too long."""
        return self.p95 <= MOST_SECONDS


def talked(seconds: float) -> Pcm:
    """A synthetic conversation."""
    audio, _ = conversation((LOW, HIGH), small_talk(talkers=2, seconds=seconds, seed=5), seed=5)
    return np.round(audio * 32_767).astype(np.int16)


def processor(service: Service) -> float:
    """Seconds of CPU that all of its processes have taken so far."""
    taken = 0.0
    for pid in service.processes():
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.Error:
            continue
        taken += times.user + times.system
    return taken


def memory(service: Service) -> float:
    """MB of all processes, what they share counted once (PSS)."""
    taken = 0.0
    for pid in service.processes():
        try:
            taken += psutil.Process(pid).memory_full_info().pss / 1e6
        except psutil.Error:
            continue
    return taken


def redis_memory(service: Service) -> float:
    """MB that Redis holds for us."""
    with service.redis() as redis:
        return float(redis.info("memory")["used_memory_dataset"]) / 1e6


async def talk(session: Session, pcm: Pcm, lags: list[float]) -> None:
    """Record a conversation in real time, and note how late each hop is heard."""

    async def watch() -> None:
        async for _, event in session.events():
            if (lag := lag_of(event)) is not None:
                lags.append(lag)

    watching = asyncio.create_task(watch())
    await Recorder(session).record(frames(pcm, pace=1.0))
    await watching


async def lags(api: str, pcm: Pcm, streams: int, seconds: float) -> list[float]:
    """Seconds from a hop's arrival to its event, over several live sessions at once."""
    heard: list[float] = []
    sessions = [await open_session(api, "research") for _ in range(streams)]
    own = [np.roll(pcm, -number * 7 * SAMPLE_RATE)[: round(seconds * SAMPLE_RATE)] for number in range(streams)]
    await asyncio.gather(*(talk(*each, heard) for each in zip(sessions, own, strict=True)))
    return heard


def measure(service: Service, pcm: Pcm, sessions: int, seconds: float) -> Cost:
    """Have so many conversations recorded, and see what they take."""
    memory_before, redis_before, processor_before = memory(service), redis_memory(service), processor(service)
    peak: list[float] = []

    async def beside() -> list[float]:
        async def look() -> None:
            await asyncio.sleep(0.8 * seconds)  # while all of them talk
            peak.extend(await asyncio.to_thread(lambda: (memory(service), redis_memory(service))))

        looking = asyncio.create_task(look())
        heard = await lags(service.api, pcm, sessions, seconds)
        await looking
        return heard

    heard = asyncio.run(beside())
    taken = processor(service) - processor_before
    p50, p95, p99 = (float(np.percentile(heard, part)) for part in (50, 95, 99))
    return Cost(
        sessions=sessions,
        p50=p50,
        p95=p95,
        p99=p99,
        cpu=taken / (sessions * seconds),
        memory=peak[0] - memory_before,
        redis=peak[1] - redis_before,
    )


def kept(service: Service, pcm: Pcm) -> float:
    """MB in Redis of an hour of conversation once it is over, until it is erased."""
    before = redis_memory(service)
    long = np.tile(pcm, round(LONG_SECONDS * SAMPLE_RATE / len(pcm)))
    asyncio.run(record(service.api, long, pace=0))
    return (redis_memory(service) - before) * 3600 * SAMPLE_RATE / len(long)


def at_rest(service: Service) -> dict[str, float]:
    """MB and share of a core that the service takes while nobody talks."""
    before, start = processor(service), time.monotonic()
    time.sleep(REST_SECONDS)
    return {"memory": memory(service), "cpu": (processor(service) - before) / (time.monotonic() - start)}


def run(quick: bool, say: Say) -> dict[str, Any]:
    """All figures."""
    seconds = 20.0 if quick else 60.0
    pcm = talked(seconds + 30)
    costs: list[Cost] = []
    with running_service() as service:
        measure(service, pcm, 2, 5.0)  # what is only done the first time
        rest = at_rest(service)
        say("a long one")
        an_hour = kept(service, pcm)
        for sessions in STREAMS[:3] if quick else STREAMS:
            say(f"{sessions} sessions")
            costs.append(measure(service, pcm, sessions, seconds))
            if not costs[-1].carried:
                break
    at = datetime.now(UTC).isoformat()
    costs_told = [asdict(cost) for cost in costs]
    return {"cores": os.cpu_count(), "at": at, "rest": rest, "redis_mb_an_hour": an_hour, "costs": costs_told}


def table(figures: dict[str, Any]) -> Table:
    """The figures, for people."""
    rest = figures["rest"]
    title = f"Live sessions on {figures['cores']} cores ({platform.machine()}), {figures['at'][:10]}"
    caption = (
        f"at rest: {rest['memory'] / 1000:.1f} GB, {100 * rest['cpu']:.0f} % of a core; "
        f"an hour of conversation, once over: {figures['redis_mb_an_hour']:.1f} MB in Redis"
    )
    shown = Table(title=title, caption=caption)
    for name in ("sessions", "p50 s", "p95 s", "p99 s", "CPU s/s", "MB each", "Redis MB each"):
        shown.add_column(name, justify="right")
    for cost in (Cost(**cost) for cost in figures["costs"]):
        shown.add_row(
            str(cost.sessions),
            *(f"{lag:.3f}" for lag in (cost.p50, cost.p95, cost.p99)),
            f"{cost.cpu:.3f}",
            f"{cost.memory / cost.sessions:.1f}",
            f"{cost.redis / cost.sessions:.1f}",
        )
    return shown


def command_line(
    about: str | None, quick: str, run: Callable[[bool, Say], dict[str, Any]], table: Callable[[dict[str, Any]], Table]
) -> None:
    """The command line of a benchmark: `run` measures, `table` shows it; `quick`: what is less then."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--report", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    console = Console()
    figures = run(options.quick, lambda step: console.print(f"{step} ...", style="dim"))
    console.print(table(figures))
    if options.report:
        options.report.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    command_line(__doc__, "up to 16 sessions, of 20 s instead of 60", run, table)
