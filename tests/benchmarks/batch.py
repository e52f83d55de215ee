"""Batch: how fast uploaded recordings are heard, one and several at once, beside `tonetrack analyse`'s own engine."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from bokeh.plotting import figure as Plot

from tests.benchmarks import plain
from tests.benchmarks.crowd import Crowd, listen
from tests.benchmarks.figures import Figures
from tests.benchmarks.plots import bars
from tests.benchmarks.run import Part, Run
from tests.benchmarks.tables import Table
from tests.benchmarks.uploads import Uploader, mp3, peaks

FILES, QUICK_FILES = (1, 4, 16), (1, 4)  # at once
SHORT, QUICK_SHORT = 2.0, 0.5  # minutes of each of them
HOUR, QUICK_HOUR = 60.0, 4.0  # minutes of the long one
ALONE, QUICK_ALONE = 10.0, 2.0  # minutes that the plain process hears
LIVE = 4  # streams beside uploads
LIVE_SECONDS, QUICK_LIVE_SECONDS = 8.0, 4.0  # that they are heard, each of the two times


def measure(run: Run) -> Figures:
    """The plain process alone on the machine, then the service."""
    hour, short, alone = run.either(HOUR, QUICK_HOUR), run.either(SHORT, QUICK_SHORT), run.either(ALONE, QUICK_ALONE)
    run.end_service()
    run.say(f"batch: {alone:g} minutes in one plain process")
    told = plain.apart(plain.recording, str(mp3(alone, run.folder, run.pcm)))
    figures: Figures = {
        "plain": {"minutes": alone, **told, "factor": told["seconds"] / (60 * alone)},
        "short": short,
        "files": [],
    }
    uploader = Uploader(run.service)
    uploader.hear(mp3(0.25, run.folder, run.pcm))  # what is only done the first time
    file = mp3(short, run.folder, run.pcm)
    for files in QUICK_FILES if run.quick else FILES:
        run.say(f"batch: {files} of {short:g} minutes at once")
        took = uploader.hear_together(file, files)
        figures["files"].append({"files": files, "seconds": took, "factor": took / (files * 60 * short)})
    run.say(f"batch: {hour:g} minutes")
    long = mp3(hour, run.folder, run.pcm)
    with peaks(run.service) as most:
        began = time.monotonic()
        uploader.hear(long)
        took = time.monotonic() - began
    figures["long"] = {"minutes": hour, "seconds": took, "factor": took / (60 * hour), **most}
    run.say(f"batch: {LIVE} live, alone and beside two uploads")
    figures["beside"] = asyncio.run(_beside(run, uploader, long))
    return figures


async def _beside(run: Run, uploader: Uploader, file: Path) -> dict[str, float]:
    """How late live sessions are alone, and while two recordings are being heard."""
    crowd = Crowd(run.service, run.pcm)
    await crowd.join(LIVE)
    await asyncio.sleep(2.0)
    alone = await listen(crowd, run.either(LIVE_SECONDS, QUICK_LIVE_SECONDS))
    uploads = [await asyncio.to_thread(uploader.upload, file) for _ in range(2)]
    await asyncio.sleep(1.0)
    busy = await listen(crowd, run.either(LIVE_SECONDS, QUICK_LIVE_SECONDS))
    going = [uploader.job(*upload)["state"] in ("queued", "running") for upload in uploads]
    for upload in uploads:
        uploader.erase(*upload)
    dropped = await crowd.leave()
    await crowd.erase()
    return {"p95_alone": alone["p95"], "p95_beside": busy["p95"], "still_heard": sum(going), "dropped": dropped}


def tables(figures: Figures) -> list[Table]:
    """Real-time factors: seconds of work for a second of sound."""
    one, long, beside = figures["plain"], figures["long"], figures["beside"]
    shown = Table(
        "Batch: uploads, from the first byte to the timeline",
        ["what", "real-time factor", "seconds", "over the plain process"],
        note=f"Most memory with {long['minutes']:g} minutes: a worker {long['worker_mb']:.0f} MB of its own, all"
        f" processes {long['all_mb'] / 1000:.1f} GB. {LIVE} live streams alone: p95 {beside['p95_alone']:.2f} s; beside"
        f" two uploads, {beside['still_heard']} of which were not over by then: {beside['p95_beside']:.2f} s, and"
        f" {beside['dropped']} hops dropped.",
    )
    rows = {
        f"{one['minutes']:g} min in one plain process": one,
        **{f"{row['files']} at once, of {figures['short']:g} min": row for row in figures["files"]},
        f"{long['minutes']:g} min": long,
    }
    for what, row in rows.items():
        ratio = f"{row['factor'] / one['factor']:.2f}"
        shown.add(what, f"1/{1 / row['factor']:.0f}", f"{row['seconds']:.1f}", ratio)
    return [shown]


def plots(figures: Figures) -> list[Plot]:
    """How many seconds of sound a second hears."""
    speeds = {f"{row['files']} at once": 1 / row["factor"] for row in figures["files"]}
    speeds = {"plain process": 1 / figures["plain"]["factor"], **speeds, "long": 1 / figures["long"]["factor"]}
    return [bars("Uploads: seconds of sound heard in a second", "s/s", speeds)]


PART = Part("batch", "uploads, one and many at once, beside a plain process", measure, tables, plots)
