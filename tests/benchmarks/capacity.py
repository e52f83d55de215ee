"""Capacity: how many live streams a machine carries, what they take, and what becomes of those who come besides.

Streams join a few at a time until the service asks newcomers to wait, for it is late (`TONETRACK_MAX_LAG`). Then more
come. They should be refused, and those who talk be heard as before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from bokeh.plotting import figure as Plot

from deployments.client import Session, open_session
from pipeline.timeline import HOP_SECONDS
from tests.benchmarks.crowd import Crowd, listen, listen_to
from tests.benchmarks.figures import Figures, carried, disturbed, growth
from tests.benchmarks.plots import lines
from tests.benchmarks.run import Part, Run
from tests.benchmarks.tables import Table, percent, seconds
from tests.benchmarks.usage import RedisUsage, at_rest, memory

LEVELS, QUICK_LEVELS = (1, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 96), (1, 8, 16)
FURTHER, MOST_FURTHER = 2, 6  # streams that still come at a time once a level was too much, and how often
SECONDS, QUICK_SECONDS = 8.0, 5.0  # of listening at a level
SETTLING, QUICK_SETTLING = 4.0, 2.0  # s before that
REST, QUICK_REST = 10.0, 5.0  # s
EXCESS = 8  # that come once the machine is full, to sessions opened before, and as many without

Row = dict[str, Any]


def measure(run: Run) -> Figures:
    """A machine at rest, then one crowd that grows."""
    run.say("capacity: at rest")
    service = run.service
    asyncio.run(warm(run))
    rest = at_rest(service, run.either(REST, QUICK_REST)) | {"redis_mb": RedisUsage.of(service).dataset}
    return {"rest": rest, **asyncio.run(_grow(run))}


async def warm(run: Run) -> None:
    """What is only done the first time is no part of any figure."""
    crowd = Crowd(run.service, run.pcm)
    await crowd.join(2)
    await asyncio.sleep(3)
    await crowd.leave()
    await crowd.erase()
    await asyncio.sleep(2)


async def _grow(run: Run) -> Figures:
    excess = [await open_session(run.service.api, "research") for _ in range(EXCESS)]
    crowd = Crowd(run.service, run.pcm)
    rows: list[Row] = []
    levels: Sequence[int] = QUICK_LEVELS if run.quick else LEVELS
    while levels and not crowd.refused:
        asked, *levels = levels
        run.say(f"capacity: {asked} live")
        await crowd.join(asked - len(crowd.streams))
        rows.append({"asked": asked, **await _level(run, crowd)})
        if not carried(rows[-1]["p95"], rows[-1]["kept_up"], dropped=0):
            levels = gently(asked, levels)
    refusal = None
    if crowd.refused:
        run.say(f"capacity: {2 * EXCESS} more")
        refusal = await beyond(crowd, excess, SECONDS)
    dropped = await crowd.leave()
    await crowd.erase()
    if refusal:
        refusal |= judged(refusal, rows[-1], dropped)
    marked(rows, dropped)
    return {"rows": rows, "refusal": refusal, "dropped": dropped, **summary(rows)}


def gently(streams: int, levels: Sequence[int]) -> list[int]:
    """The levels that come once so many streams were too many: few at a time, and not many more.

    So the service has the time to say that it is full, which it knows by those who have been heard too late.
    """
    most = min(streams + FURTHER * MOST_FURTHER, max(levels, default=streams))
    return list(range(streams + FURTHER, most + 1, FURTHER))


async def beyond(crowd: Crowd, excess: Sequence[Session], listened: float) -> Row:
    """Have more come than there is room for: half of them to sessions that were opened while there was room.

    It is those who were there before that are listened to, until all who came are in or refused, and for so many
    seconds more.
    """
    crowd.refused.clear()
    there, came = list(crowd.streams), 2 * len(excess)
    coming = asyncio.create_task(crowd.join(came, excess))
    heard = await listen_to(crowd, there, listened, coming)
    let_in = await coming
    return {"came": came, "running": len(there), "let_in": let_in, "refused": dict(crowd.refused), **heard}


def judged(refusal: Row, before: Row, dropped: int) -> Row:
    """Whether those who were there noticed nothing, beside their last level, and why not, if so."""
    wrong = disturbed(refusal, before, refusal["refused"], dropped)
    return {"p95_before": before["p95"], "undisturbed": not wrong, "wrong": wrong}


def marked(rows: Sequence[Row], dropped: int) -> None:
    """Say of each row whether it was carried: it was, and so were all fewer, for what fails once is not carried."""
    fine = True
    for row in rows:
        fine = fine and carried(row["p95"], row["kept_up"], dropped)
        row["carried"] = fine


def summary(rows: Sequence[Row]) -> Figures:
    """The most streams that were carried, and of whom each hop was heard by itself; what each further one took.

    That is in cores, and in MB of memory, of those whose hops were heard one by one: heard together, all take less.
    """
    fine = [row for row in rows if row["carried"]]
    singly = [row for row in fine if row["every"] <= HOP_SECONDS]
    streams = [row["streams"] for row in singly]
    grown: Figures = {}
    if len(set(streams)) > 1:
        grown = {
            "memory_mb": growth(streams, [sum(row["memory"].values()) for row in singly]),
            "cores": growth(streams, [row["cores"] for row in singly]),
        }
    most, most_singly = (max((row["streams"] for row in some), default=0) for some in (fine, singly))
    return {"most": most, "most_singly": most_singly, "each_further": grown}


async def _level(run: Run, crowd: Crowd) -> Row:
    """What is heard, and what it takes, with those who are there now."""
    await asyncio.sleep(run.either(SETTLING, QUICK_SETTLING))
    streams, began = len(crowd.streams), time.monotonic()
    before = await asyncio.to_thread(RedisUsage.of, run.service)
    heard = await listen(crowd, run.either(SECONDS, QUICK_SECONDS))
    after = await asyncio.to_thread(RedisUsage.of, run.service)
    return {
        "streams": streams,
        **heard,
        "memory": await asyncio.to_thread(memory, run.service),
        "redis_mb": after.dataset,
        "redis": after.since(before, streams * (time.monotonic() - began)),
    }


def tables(figures: Figures) -> list[Table]:
    """By the number of streams; by process; and what became of the excess."""
    return [_levels(figures), _processes(figures)]


def _levels(figures: Figures) -> Table:
    rest, grown = figures["rest"], figures["each_further"]
    tried = figures["rows"][-1]["streams"]
    full = "then newcomers are asked to wait" if figures["refusal"] else f"more than {tried} were not tried"
    note = (
        "Carried: p95 at most 1.5 s, 99 % of hops heard within 1.5 s, none dropped"
        f" ({figures['dropped']} were), and so with all fewer. The most: {figures['most']}; {full}. At rest:"
        f" {rest['memory_gb']:.1f} GB, {percent(rest['cpu'])} of a core."
    )
    if grown:
        further = f"{grown['memory_mb']:.1f} MB, {grown['cores']:.3f} of a core"
        note += f" Each further stream that is heard every {HOP_SECONDS} s: {further}."
    if refusal := figures["refusal"]:
        how = ", ".join(f"{number} {name}" for name, number in refusal["refused"].items())
        note += (
            f" Then {refusal['came']} came to {refusal['running']}: {refusal['let_in']} let in, refused {how};"
            f" meanwhile those who were there had p95 {refusal['p95']:.2f} s, before {refusal['p95_before']:.2f} s, and"
            f" {percent(refusal['kept_up'])} kept up: {verdict(refusal)}."
        )
    columns = [
        "live streams",
        "p50 s",
        "p95 s",
        "p99 s",
        "p95 since sent",
        "kept up",
        "heard every, s",
        "carried",
        "CPU s per s of sound",
        "MB",
        "Redis MB",
    ]
    shown = Table("Capacity: live streams, PCM16", columns, note=note)
    for row in figures["rows"]:
        shown.add(
            str(row["streams"]) + ("" if row["streams"] == row["asked"] else f" of {row['asked']}"),
            *(seconds(row[name]) for name in ("p50", "p95", "p99", "sent_p95")),
            percent(row["kept_up"]),
            seconds(row["every"]),
            "yes" if row["carried"] else "no",
            f"{sum(row['cpu'].values()):.4f}",
            f"{sum(row['memory'].values()):.0f}",
            f"{row['redis_mb']:.1f}",
        )
    return shown


def _processes(figures: Figures) -> Table:
    """The most that was carried, process by process."""
    row = busiest(figures)
    shown = Table(
        f"What {row['streams']} live streams heard every {seconds(row['every'])} s take, by process",
        ["process", "CPU ms per s of sound", "share", "MB"],
    )
    whole = sum(row["cpu"].values())
    for kind, cpu in sorted(row["cpu"].items(), key=lambda item: -item[1]):
        shown.add(kind, f"{1000 * cpu:.2f}", percent(cpu / whole), f"{row['memory'].get(kind, 0):.0f}")
    shown.add("all", f"{1000 * whole:.2f}", percent(1.0), f"{sum(row['memory'].values()):.0f}")
    return shown


def verdict(refusal: Row) -> str:
    """What came of those who were there, for people."""
    return "undisturbed" if refusal["undisturbed"] else f"disturbed ({'; '.join(refusal['wrong'])})"


def busiest(figures: Figures) -> Row:
    """The row of the most streams that were carried; where none were, the first."""
    row: Row = next((row for row in reversed(figures["rows"]) if row["carried"]), figures["rows"][0])
    return row


def plots(figures: Figures) -> list[Plot]:
    """Lag and what the streams take, over their number."""
    rows = figures["rows"]
    streams = [row["streams"] for row in rows]
    kinds = list(busiest(figures)["cpu"])
    taken = {kind: [row["cpu"].get(kind, 0.0) * row["streams"] for row in rows] for kind in kinds}
    lags = {name: [row[name] for row in rows] for name in ("p50", "p95", "p99")}
    return [
        lines("Lag", "live streams", "seconds", streams, lags),
        lines("Processors", "live streams", "cores", streams, taken),
        lines("Memory", "live streams", "MB", streams, {"all": [sum(row["memory"].values()) for row in rows]}),
    ]


PART = Part("capacity", "how many live streams there may be, and what they take", measure, tables, plots)
