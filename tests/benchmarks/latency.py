"""Latency: from the arrival of a hop's last sample to its event in Redis, and to the plot in a browser.

The two are measured one after the other, at each number of streams: a browser draws on the same cores and would make
the service look slower than it is. From arrival to the plot is what one viewer sees while the others talk as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bokeh.plotting import figure as Plot

from deployments.lag import LATELY
from pipeline.timeline import HOP_SECONDS
from tests.benchmarks import viewer
from tests.benchmarks.crowd import Codec, Crowd, listen
from tests.benchmarks.figures import Figures, Heard, Percentiles
from tests.benchmarks.plots import lines
from tests.benchmarks.run import Part, Run
from tests.benchmarks.tables import Table, percent, seconds

STREAMS, QUICK_STREAMS = (1, 8, 16, 32, 48), (1, 8)
SECONDS, QUICK_SECONDS = 10.0, 6.0  # of listening to events
WATCHED, QUICK_WATCHED = 8.0, 5.0  # s in which a browser looks on
FIRST_WORDS = 3.0  # s that are not counted
LONGEST = 120.0  # s that a stream of webm may talk
CODECS: tuple[Codec, ...] = ("pcm16", "webm")

Row = dict[str, Any]


def measure(run: Run) -> Figures:
    """Each codec at each number of streams, until a machine is full."""
    streams = QUICK_STREAMS if run.quick else STREAMS
    path = viewer.chromium()
    if path is None:
        run.say("there is no Chromium here, or in TONETRACK_CHROMIUM: nothing is said of the plot")
    rows = []
    for codec in CODECS:
        for number in streams if codec == "pcm16" or not run.quick else streams[-1:]:
            run.say(f"latency: {number} live, {codec}")
            rows.append(asyncio.run(_at(run, number, codec, path)))
            if rows[-1]["joined"] < number:
                break
    return {"rows": rows, "browser": path is not None}


async def _at(run: Run, number: int, codec: Codec, path: str | None) -> Row:
    """A row: so many streams with a codec."""
    crowd = Crowd(run.service, run.pcm, codec, LONGEST)
    joined = await crowd.join(number)
    await asyncio.sleep(FIRST_WORDS)
    row: Row = {"streams": number, "joined": joined, "codec": codec}
    row |= await listen(crowd, run.either(SECONDS, QUICK_SECONDS))
    if path:
        row["plot"] = await asyncio.to_thread(_to_plot, run, crowd, path)
    row["dropped"] = await crowd.leave()
    await crowd.erase()
    if row["every"] > HOP_SECONDS:
        await asyncio.sleep(LATELY + 1)  # until hops are heard one by one again
    return row


def _to_plot(run: Run, crowd: Crowd, path: str) -> dict[str, Any] | None:
    """Percentiles from the arrival of the first stream's hops to the moments that the browser noted.

    None where it was so late that it saw nothing in its time.
    """
    stream = crowd.streams[0]
    with viewer.viewer(path) as watching:
        seen = watching.watch(run.service.page, stream.session, run.either(WATCHED, QUICK_WATCHED))
    hops = crowd.hops(stream)
    lags = {moment: seconds_after(hops, seen["hop"], seen[moment]) for moment in ("told", "drawn")}
    return {moment: asdict(Percentiles.of(late)) for moment, late in lags.items()} if all(lags.values()) else None


def seconds_after(hops: dict[int, Heard], numbers: Sequence[float], at: Sequence[float]) -> list[float]:
    """Seconds from the arrival of hops with some numbers to moments in Unix time; unknown hops are left out."""
    return [moment - hops[int(hop)].arrived_at for hop, moment in zip(numbers, at, strict=True) if int(hop) in hops]


def tables(figures: Figures) -> list[Table]:
    """A row for each number of streams."""
    shown = Table(
        "Latency: from the arrival of a hop's last sample, in seconds",
        [
            "live streams",
            "hops",
            "every",
            "event p50",
            "p95",
            "p99",
            "kept up",
            "plot told p50",
            "p95",
            "p99",
            "drawn p95",
        ],
        note="Every: how much is heard at once. Event: published in Redis. Plot told: the data sources of a page in"
        " headless Chromium have it; drawn: and a frame shows it. The browser shares the machine, and joins after the"
        f" events were measured. Dropped in all: {sum(row['dropped'] for row in figures['rows'])} hops.",
    )
    for row in figures["rows"]:
        plot = row.get("plot")
        told = [seconds(plot["told"][name]) for name in ("p50", "p95", "p99")] if plot else ["-"] * 3
        shown.add(
            f"{row['joined']} {row['codec']}" + ("" if row["joined"] == row["streams"] else f" of {row['streams']}"),
            str(row["count"]),
            seconds(row["every"]),
            *(seconds(row[name]) for name in ("p50", "p95", "p99")),
            percent(row["kept_up"]),
            *told,
            seconds(plot["drawn"]["p95"]) if plot else "-",
        )
    return [shown]


def plots(figures: Figures) -> list[Plot]:
    """Percentiles over the number of streams."""
    drawn = []
    for codec in CODECS:
        rows = [row for row in figures["rows"] if row["codec"] == codec]
        if not rows:
            continue
        streams = [row["joined"] for row in rows]
        curves = {f"event {name}": [row[name] for row in rows] for name in ("p50", "p95", "p99")}
        if all(row.get("plot") for row in rows):
            curves |= {f"plot {name}": [row["plot"]["told"][name] for row in rows] for name in ("p50", "p95")}
        drawn.append(lines(f"Latency, {codec}", "live streams", "seconds", streams, curves))
    return drawn


PART = Part("latency", "from sound to event and to plot", measure, tables, plots)
