"""Held: whether a machine carries for two minutes what it seems to carry for seconds, three times over.

Each run has a service of its own. A crowd grows to one level after another, is given the time that it takes until the
service's cadence can be seen, and is listened to. Then more come than there should be room for. It takes 25 minutes, so
it runs only where it is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from bokeh.plotting import figure as Plot

from deployments import cadence
from deployments.client import open_session
from tests.benchmarks.capacity import beyond, judged, verdict, warm
from tests.benchmarks.crowd import Crowd, listen
from tests.benchmarks.figures import Figures
from tests.benchmarks.plots import lines
from tests.benchmarks.run import Part, Run
from tests.benchmarks.tables import Table, percent, seconds
from tests.benchmarks.usage import at_rest

RUNS, QUICK_RUNS = 3, 1
LEVELS, QUICK_LEVELS = (8, 48, 64), (2, 4)  # live streams
SECONDS, QUICK_SECONDS = 120.0, 4.0  # that each level is listened to
SETTLING, QUICK_SETTLING = cadence.SETTLING + 2.0, 2.0  # s before that
REST, QUICK_REST = 10.0, 2.0  # s
EXCESS, QUICK_EXCESS = 8, 1  # that come at the end to sessions opened before, and as many without
BEYOND_SECONDS, QUICK_BEYOND_SECONDS = 20.0, 3.0  # s that the others are listened to meanwhile

Row = dict[str, Any]


def measure(run: Run) -> Figures:
    """One run after another."""
    runs = []
    for number in range(round(run.either(RUNS, QUICK_RUNS))):
        run.end_service()
        began = time.monotonic()
        service = run.service
        ready = time.monotonic() - began
        run.say(f"held: run {number + 1}, at rest")
        asyncio.run(warm(run))
        rest = at_rest(service, run.either(REST, QUICK_REST))
        runs.append({"ready_after": ready, "rest": rest, **asyncio.run(_run(run, number + 1))})
    return {"seconds": run.either(SECONDS, QUICK_SECONDS), "runs": runs}


async def _run(run: Run, number: int) -> Row:
    """A crowd that grows level by level, and those who come too late."""
    opened = round(run.either(EXCESS, QUICK_EXCESS))
    excess = [await open_session(run.service.api, "research") for _ in range(opened)]
    crowd = Crowd(run.service, run.pcm)
    levels: list[Row] = []
    for asked in QUICK_LEVELS if run.quick else LEVELS:
        run.say(f"held: run {number}, {asked} live")
        await crowd.join(asked - len(crowd.streams))
        await asyncio.sleep(run.either(SETTLING, QUICK_SETTLING))
        streams = len(crowd.streams)
        levels.append({"asked": asked, "streams": streams, **await listen(crowd, run.either(SECONDS, QUICK_SECONDS))})
        if streams < asked:
            break
    run.say(f"held: run {number}, {2 * opened} more")
    refusal = await beyond(crowd, excess, run.either(BEYOND_SECONDS, QUICK_BEYOND_SECONDS))
    dropped = await crowd.leave()
    await crowd.erase()
    return {"levels": levels, "refusal": refusal | judged(refusal, levels[-1], dropped), "dropped": dropped}


def tables(figures: Figures) -> list[Table]:
    """All levels of all runs; what they take, by process; and what became of the excess."""
    return [_levels(figures), _processes(figures), _refusals(figures)]


def let_in(row: Row) -> str:
    """So many streams, of so many."""
    return str(row["streams"]) + ("" if row["streams"] == row["asked"] else f" of {row['asked']}")


def _levels(figures: Figures) -> Table:
    started = [f"{run['ready_after']:.1f} s" for run in figures["runs"]]
    rest = [f"{run['rest']['memory_gb']:.2f} GB and {percent(run['rest']['cpu'])} of a core" for run in figures["runs"]]
    shown = Table(
        f"Held for {figures['seconds']:.0f} s, run by run",
        [
            "live streams",
            "run",
            "p50 s",
            "p95 s",
            "p99 s",
            "p95 since sent",
            "kept up",
            "heard every, s",
            "CPU s per s of sound",
            "cores",
        ],
        note=f"From `tonetrack up` to ready: {', '.join(started)}. At rest: {', '.join(rest)}.",
    )
    for number, row in _rows(figures):
        shown.add(
            let_in(row),
            str(number),
            *(seconds(row[name]) for name in ("p50", "p95", "p99", "sent_p95")),
            percent(row["kept_up"]),
            seconds(row["every"]),
            f"{sum(row['cpu'].values()):.4f}",
            f"{row['cores']:.2f}",
        )
    return shown


def _rows(figures: Figures) -> list[tuple[int, Row]]:
    """Each row with the number of its run, level by level."""
    rows = [(number, row) for number, run in enumerate(figures["runs"], 1) for row in run["levels"]]
    return sorted(rows, key=lambda numbered: (numbered[1]["asked"], numbered[0]))


def _processes(figures: Figures) -> Table:
    rows = _rows(figures)
    columns = [f"{let_in(row)}, run {number}" for number, row in rows]
    shown = Table("CPU by process, ms per s of sound", ["process", *columns])
    kinds = sorted({kind for _, row in rows for kind in row["cpu"]}, key=lambda kind: -rows[-1][1]["cpu"].get(kind, 0))
    for kind in kinds:
        shown.add(kind, *(f"{1000 * row['cpu'].get(kind, 0.0):.2f}" for _, row in rows))
    shown.add("all", *(f"{1000 * sum(row['cpu'].values()):.2f}" for _, row in rows))
    return shown


def _refusals(figures: Figures) -> Table:
    shown = Table(
        "Who comes besides",
        ["run", "came", "to", "let in", "refused", "p95 before, s", "p95, s", "kept up", "hops dropped", "those there"],
        note="Percentiles and shares are of those who were there before.",
    )
    for number, run in enumerate(figures["runs"], 1):
        refusal = run["refusal"]
        shown.add(
            str(number),
            *(str(refusal[name]) for name in ("came", "running", "let_in")),
            ", ".join(f"{times} {how}" for how, times in refusal["refused"].items()) or "nobody",
            seconds(refusal["p95_before"]),
            seconds(refusal["p95"]),
            percent(refusal["kept_up"]),
            str(run["dropped"]),
            verdict(refusal),
        )
    return shown


def plots(figures: Figures) -> list[Plot]:
    """Lag and cores, run by run."""
    most = max((run["levels"] for run in figures["runs"]), key=len)
    streams = [row["asked"] for row in most]

    def curves(value: Callable[[Row], float]) -> dict[str, Sequence[float]]:
        whole = [run["levels"] for run in figures["runs"] if len(run["levels"]) == len(most)]
        return {f"run {number}": [value(row) for row in levels] for number, levels in enumerate(whole, 1)}

    return [
        lines("p95 while it is held", "live streams", "seconds", streams, curves(lambda row: float(row["p95"]))),
        lines("Processors while it is held", "live streams", "cores", streams, curves(lambda row: float(row["cores"]))),
    ]


PART = Part(
    "held", "two minutes of 8, 48 and 64 streams, three times; runs only when named", measure, tables, plots, asked=True
)
