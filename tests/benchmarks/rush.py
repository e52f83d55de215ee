"""A rush: many who begin at once where a few talk, how many are let in, and what those who talk notice of it."""

from __future__ import annotations

import asyncio

from bokeh.plotting import figure as Plot

from deployments import cadence
from tests.benchmarks.crowd import Crowd, listen_to
from tests.benchmarks.figures import Figures
from tests.benchmarks.plots import bars
from tests.benchmarks.run import Part, Run
from tests.benchmarks.tables import Table, percent, seconds

THERE, QUICK_THERE = 8, 2  # who talk before
COMING, QUICK_COMING = 40, 4  # who come at once
SECONDS, QUICK_SECONDS = 20.0, 3.0  # of listening, before, during and after
SETTLING, QUICK_SETTLING = cadence.SETTLING + 2.0, 2.0  # s before that


def measure(run: Run) -> Figures:
    """Those who talk before, while the others come, and everybody who is in afterwards."""
    run.end_service()  # which may still be as full as the part before has left it
    return asyncio.run(_rush(run))


async def _rush(run: Run) -> Figures:
    there, coming = round(run.either(THERE, QUICK_THERE)), round(run.either(COMING, QUICK_COMING))
    listened, settling = run.either(SECONDS, QUICK_SECONDS), run.either(SETTLING, QUICK_SETTLING)
    run.say(f"rush: {there} live")
    crowd = Crowd(run.service, run.pcm)
    await crowd.join(there)
    await asyncio.sleep(settling)
    before = list(crowd.streams)
    rows = {"before": await listen_to(crowd, before, listened)}
    run.say(f"rush: {coming} more at once")
    joining = asyncio.create_task(crowd.join(coming, together=coming))
    rows["meanwhile"] = await listen_to(crowd, before, listened, joining)
    let_in = await joining
    await asyncio.sleep(settling)
    inside = list(crowd.streams)
    rows["afterwards"] = await listen_to(crowd, inside, listened)
    streams = {"before": len(before), "meanwhile": len(before), "afterwards": len(inside)}
    refused, dropped = dict(crowd.refused), await crowd.leave()
    await crowd.erase()
    return {
        "coming": coming,
        "let_in": let_in,
        "refused": refused,
        "dropped": dropped,
        "rows": [{"when": when, "streams": streams[when], **row} for when, row in rows.items()],
    }


def tables(figures: Figures) -> list[Table]:
    """Before, meanwhile, afterwards."""
    how = ", ".join(f"{number} {name}" for name, number in figures["refused"].items()) or "nobody"
    shown = Table(
        f"A rush: {figures['coming']} who come at once",
        ["when", "of so many streams", "p50 s", "p95 s", "p99 s", "kept up", "heard every, s"],
        note=f"{figures['let_in']} were let in, refused {how}; {figures['dropped']} hops were dropped.",
    )
    for row in figures["rows"]:
        shown.add(
            row["when"],
            str(row["streams"]),
            *(seconds(row[name]) for name in ("p50", "p95", "p99")),
            percent(row["kept_up"]),
            seconds(row["every"]),
        )
    return [shown]


def plots(figures: Figures) -> list[Plot]:
    """How late those who are in are heard, before, meanwhile and afterwards."""
    return [bars("p95 in a rush", "seconds", {row["when"]: row["p95"] for row in figures["rows"]})]


PART = Part("rush", "forty who come at once where eight talk", measure, tables, plots)
