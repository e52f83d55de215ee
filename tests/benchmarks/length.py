"""Length: what a minute of conversation takes, early and late in a session."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from bokeh.plotting import figure as Plot

from deployments.client import open_session
from pipeline.events import parse
from pipeline.published import session_key
from pipeline.timeline import SAMPLE_RATE
from tests.benchmarks.figures import Figures
from tests.benchmarks.plots import lines
from tests.benchmarks.run import Part, Run
from tests.benchmarks.tables import Table
from tests.benchmarks.usage import RedisUsage, Usage, at_rest, memory
from tests.service import record

MINUTES, QUICK_MINUTES = (1, 4, 16), (1, 4)
REST = 5.0  # s
LOOK = 0.05  # s between two looks at how far it is


def measure(run: Run) -> Figures:
    """One session's first minutes."""
    return of_minutes(run, QUICK_MINUTES if run.quick else MINUTES)


def of_minutes(run: Run, minutes: Sequence[int]) -> Figures:
    """One session, sent as fast as it is heard, and what some of its minutes take beyond the service at rest."""
    run.say(f"length: {minutes[-1]} minutes of one session")
    rest = at_rest(run.service, REST)["cpu"]
    marks, left = asyncio.run(_marks(run, minutes[-1]))
    rows = []
    for minute in minutes:
        before, after = marks[minute - 1], marks[minute]
        took = after["at"] - before["at"]
        rows.append(
            {
                "minute": minute,
                "cpu": after["cpu"] - before["cpu"] - rest * took,
                "seconds": took,
                "memory": after["memory"],
            }
        )
    return {"rows": rows, "redis_mb_an_hour": left * 60 / minutes[-1]}


async def _marks(run: Run, minutes: int) -> tuple[list[dict[str, float]], float]:
    """What had been taken before the first minute, and after each; the MB that it leaves in Redis once it is over."""
    before = await asyncio.to_thread(RedisUsage.of, run.service)
    session = await open_session(run.service.api, "research")
    pcm = np.resize(run.pcm, minutes * 60 * SAMPLE_RATE)
    marks = [await asyncio.to_thread(_mark, run)]
    recording = asyncio.create_task(record(run.service.api, pcm, pace=0, session=session))
    while len(marks) <= minutes:
        if await asyncio.to_thread(_heard_until, run, session.id) >= 60 * len(marks):
            marks.append(await asyncio.to_thread(_mark, run))
        elif recording.done() and recording.result():
            raise RuntimeError(f"The session ended after {len(marks) - 1} of {minutes} minutes were heard.")
        await asyncio.sleep(LOOK)
    await recording
    after = await asyncio.to_thread(RedisUsage.of, run.service)
    await session.erase()
    return marks, after.dataset - before.dataset


def _mark(run: Run) -> dict[str, float]:
    usage = Usage.of(run.service)
    held = sum(memory(run.service).values())
    return {"at": usage.at, "cpu": usage.total, "memory": held}


def _heard_until(run: Run, session: str) -> float:
    """Seconds of a session that were heard, by its newest event."""
    with run.service.redis() as redis:
        ((_, fields),) = redis.xrevrange(session_key(session, "events"), count=1)
    return parse(fields[b"event"]).heard_until


def tables(figures: Figures) -> list[Table]:
    """A row for each minute looked at."""
    shown = Table(
        "Length: one session, sent as fast as it is heard",
        ["minute", "CPU s per s of sound", "s to hear it", "MB, all processes"],
        note="CPU beyond that of a service at rest. A session's hops come one by one: alone, no batch helps it. Once it"
        f" is over, an hour leaves {figures['redis_mb_an_hour']:.1f} MB in Redis.",
    )
    for row in figures["rows"]:
        shown.add(
            str(row["minute"]),
            f"{row['cpu'] / 60:.4f}",
            f"{row['seconds']:.1f}",
            f"{row['memory']:.0f}",
        )
    return [shown]


def plots(figures: Figures) -> list[Plot]:
    """CPU over the minutes."""
    rows = figures["rows"]
    cpu = {"CPU": [row["cpu"] / 60 for row in rows]}
    return [lines("A second of sound, by its minute", "minute", "CPU s", [row["minute"] for row in rows], cpu)]


PART = Part("length", "what a session's first, fourth and sixteenth minute take", measure, tables, plots)
