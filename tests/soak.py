"""Sessions that come and go for an hour: whether memory, files, threads and Redis keys stay flat. `make soak`.

    .venv/bin/python -m tests.soak --sessions 24 --minutes 60

Starts a service of its own, as shipped but that it forgets sessions after five minutes. So many people talk at a time,
for one to three minutes each, somebody watches each of them, and now and then a recording is uploaded and erased.
Prints for each process and for Redis what it held early on, once everything had come and gone once, and at the end.
Ends with status 1 where a hop is missing or something has grown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import psutil
from rich.console import Console
from scipy.stats import theilslopes

from deployments.cadence import MOST
from deployments.client import Recorder, Session, open_session
from deployments.protocol import Close
from deployments.recorder import lag_of
from pipeline import tasks
from pipeline.timeline import HOP_SECONDS, SAMPLE_RATE
from tests.benchmarks.machine import here, where
from tests.benchmarks.run import AS_SHIPPED
from tests.benchmarks.tables import Table
from tests.service import Pcm, Service, frames, running_service
from tests.talkers import HIGH, LOW, conversation, small_talk
from tests.uploads import upload, wav_of

SESSIONS: Final = 24  # at once: half of what two cores are to carry
LOOK_SECONDS: Final = 15.0
SHORTEST, LONGEST = 60.0, 180.0  # s of a session
UPLOAD_EVERY, UPLOAD_SECONDS = 120.0, 60.0
SETTLED: Final = 0.25  # of the time, before which whatever comes once has come
AGAIN_SECONDS: Final = 5.0  # until somebody comes again who was not let in
RETENTION: Final = 300  # s: longer than any newcomer waits to be let in
MOST_GROWTH: Final = 0.1  # as a share of what there was early, of what holds more than this besides:
# The threads of gRPC's servers and the connections of Redis's clients are as many as were ever busy at once: a few more
# now and then. One of either left behind by each session would be hundreds.
FLOORS: Final = {"memory, MB": 10.0, "files": 10.0, "threads": 10.0, "keys": 50.0}
# A worker of the queue, and Ray's idle ones, may come and go.
LASTING: Final = {"Diariser", "EmotionRecogniser", "Ingress", "ProxyActor", "Redis", "SessionActor", "ui.server"}
REPORT: Final = Path("build/soak.json")

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


class Crowd:
    """So many people who talk, one session after another."""

    def __init__(self, service: Service, pcm: Pcm, seed: int) -> None:
        self._service = service
        self._pcm = pcm
        self._random = random.Random(seed)
        self.lags: list[float] = []
        self.sessions = 0
        self.uploads = 0
        self.refused = 0
        self.missing = 0  # hops that were said and never told
        self.broken: list[str] = []  # why conversations and uploads ended before their time

    async def talk(self, until: float) -> None:
        """One after another, until an instant of `time.monotonic`."""
        await asyncio.sleep(self._random.uniform(0, SHORTEST / 2))
        while time.monotonic() < until:
            seconds = self._random.uniform(SHORTEST, LONGEST)
            start = self._random.randrange(len(self._pcm))
            await self._session(np.roll(self._pcm, -start)[: round(seconds * SAMPLE_RATE)])

    async def upload(self, until: float) -> None:
        """A recording now and then, which is erased once it is heard."""
        wav = wav_of(self._pcm[: round(UPLOAD_SECONDS * SAMPLE_RATE)])
        while time.monotonic() < until:
            try:
                recording = await upload(self._service.api, wav)
                await recording.heard()
                async with recording.client() as http:
                    (await http.delete("")).raise_for_status()
                self.uploads += 1
            except Exception as error:
                self.broken.append(f"an upload: {type(error).__name__}: {error}")
            await asyncio.sleep(UPLOAD_EVERY)

    async def _session(self, pcm: Pcm) -> None:
        try:
            lags = lags_of(await self._told(pcm))
        except Exception as error:  # one conversation's trouble, whatever it is, is not to end an hour's run
            self.broken.append(f"{type(error).__name__}: {error}")
            return
        self.lags += lags
        self.sessions += 1
        self.missing += max(0, hops_until(len(pcm) / SAMPLE_RATE) - len(lags))

    async def _told(self, pcm: Pcm) -> list[tuple[float, float]]:
        """Where each event of a conversation had heard until, and its lag, in seconds."""
        session = await self._opened()
        told: list[tuple[float, float]] = []

        async def watch() -> None:
            async for _, event in session.events():
                if (lag := lag_of(event)) is not None:
                    told.append((event.heard_until, lag))

        watching = asyncio.create_task(watch())
        try:
            recorder = Recorder(session)
            await recorder.record(said_to(recorder, pcm))
            self.refused += recorder.breaks.count(Close.BUSY)
            await watching
        finally:
            await tasks.end(watching)
        return told

    async def _opened(self) -> Session:
        while True:
            try:
                return await open_session(self._service.api, "research")
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 503:
                    raise
                self.refused += 1
                await asyncio.sleep(AGAIN_SECONDS)


async def said_to(recorder: Recorder, pcm: Pcm) -> AsyncIterator[bytes]:
    """Frames in real time, from when the recorder is let in."""
    await recorder.welcomed.wait()
    async for frame in frames(pcm, pace=1.0):
        yield frame


def hops_until(seconds: float) -> int:
    """How many hops there are up to a moment; the last may be a shorter one."""
    return math.ceil(round(seconds / HOP_SECONDS, 3))


def lags_of(told: Iterable[tuple[float, float]]) -> list[float]:
    """The lag of every hop that events told of, in seconds, from where each of these had heard until, and its lag.

    One tells of several hops where these were heard together: then the first has waited a hop longer than the second.
    More than MOST are never heard together, so what an event skips beyond that was lost.
    """
    lags: list[float] = []
    reached = 0
    for until, lag in told:
        together = hops_until(until) - reached
        reached += together
        lags += [lag + later * HOP_SECONDS for later in reversed(range(min(together, MOST)))]
    return lags


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


async def crowd(service: Service, sessions: int, seconds: float, seed: int, say: Console) -> dict[str, Any]:
    """Have them talk; all figures."""
    sound, _ = conversation((LOW, HIGH), small_talk(talkers=2, seconds=300, seed=seed), seed=seed)
    people = Crowd(service, np.round(sound * 32_767).astype(np.int16), seed)
    until = time.monotonic() + seconds
    busy = [asyncio.create_task(people.talk(until)) for _ in range(sessions)]
    busy.append(asyncio.create_task(people.upload(until)))
    looks: list[Look] = []
    before = await asyncio.to_thread(living, service)
    while time.monotonic() < until:
        await asyncio.sleep(LOOK_SECONDS)
        looks.append(await asyncio.to_thread(look, service))
        left = max(0.0, until - time.monotonic())
        say.print(f"{people.sessions} sessions, {people.uploads} uploads; {left / 60:.0f} minutes left", style="dim")
    await asyncio.gather(*busy)
    after = await asyncio.to_thread(living, service)
    p50, p95, p99 = (float(np.percentile(people.lags, part)) for part in (50, 95, 99))
    return {
        "minutes": seconds / 60,
        "at_once": sessions,
        "sessions": people.sessions,
        "uploads": people.uploads,
        "refused": people.refused,
        "missing": people.missing,
        "broken": people.broken,
        "ended": sorted(name for name in before if before[name] != after.get(name)),
        "lag": {"p50": p50, "p95": p95, "p99": p99},
        "held": [asdict(held) for held in compared(looks)],
        "looks": looks,
    }


def verdict(figures: Mapping[str, Any]) -> list[str]:
    """What does not hold, in sentences."""
    grown = [held for held in (Held(**row) for row in figures["held"]) if held.grew]
    return [
        *([f"{figures['missing']} hops are missing."] if figures["missing"] else []),
        *(f"Ended before its time: {reason}" for reason in figures["broken"]),
        *(f"Another {name} runs at the end than in the beginning." for name in figures.get("ended", ())),
        *(f"{it.who}: {it.what} grew from {it.early:.0f} to {it.late:.0f} ({100 * it.growth:+.0f} %)." for it in grown),
    ]


def table(figures: Mapping[str, Any]) -> Table:
    """The figures, for people: a row for each process."""
    lag = figures["lag"]
    refused = f"newcomers were asked to wait {figures['refused']} times; " if figures["refused"] else ""
    columns = ("memory, MB", "files", "threads", "keys")
    shown = Table(
        f"{figures['at_once']} sessions at once for {figures['minutes']:.0f} minutes",
        ["early to late", *columns],
        note=f"On {where(figures)}: {figures['sessions']} sessions and {figures['uploads']} uploads came and went;"
        f" {refused}{figures['missing']} hops are missing; lag {lag['p50']:.2f} s, p95 {lag['p95']:.2f} s, p99"
        f" {lag['p99']:.2f} s. {' '.join(verdict(figures)) or 'Nothing grew.'}",
    )
    rows: dict[str, dict[str, str]] = defaultdict(dict)
    for held in (Held(**row) for row in figures["held"]):
        rows[held.who][held.what] = f"{held.early:.0f} to {held.late:.0f} ({100 * held.growth:+.0f} %)"
    for who, cells in rows.items():
        shown.add(who, *(cells.get(what, "") for what in columns))
    return shown


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=SESSIONS, help=f"how many talk at any time ({SESSIONS})")
    parser.add_argument("--minutes", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    parser.add_argument("--report", type=Path, default=REPORT, metavar="FILE", help=f"figures as JSON ({REPORT})")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="start nothing; print a report as Markdown")
    options = parser.parse_args()
    if options.readme:
        print(table(json.loads(options.readme.read_text())).markdown())
        return
    console = Console()
    figures = here()
    with running_service(**AS_SHIPPED | {"retention": RETENTION}) as service:
        figures |= asyncio.run(crowd(service, options.sessions, options.minutes * 60, options.seed, console))
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(figures, indent=1) + "\n")
    console.print(table(figures).rich())
    if wrong := verdict(figures):
        sys.exit(" ".join(wrong))


if __name__ == "__main__":
    main()
