"""Efficiency: what the models alone would cost in one plain loop, over what the whole service takes for the same sound.

And where the rest goes: by process, from the processors' time of each; by stage, from what the service says a hop
waits for (`tonetrack_hop_seconds`), beside what the same stage costs in the plain loop.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
from bokeh.plotting import figure as Plot

from tests.benchmarks import plain
from tests.benchmarks.crowd import TALKS, Crowd, listen, talk_of
from tests.benchmarks.figures import Figures
from tests.benchmarks.plots import bars
from tests.benchmarks.run import Part, Run
from tests.benchmarks.tables import Table, percent
from tests.benchmarks.usage import per_second

MODELS = ("diariser", "emotion model")  # the stages of the plain loop that are models
TRIES, QUICK_TRIES = 3, 1
STREAMS, QUICK_STREAMS = 48, 8
FIRST = 4.0  # s of every conversation that are counted nowhere
SECONDS, QUICK_SECONDS = 12.0, 6.0
SAMPLE = re.compile(r'^ray_tonetrack_hop_seconds_(sum|count)\{.*?stage="(\w+)".*?\} (\S+)$', re.MULTILINE)
EXPORTED_AFTER, QUICK_EXPORTED_AFTER = 12.0, 6.0  # s until each process has told Ray of its metrics, and most have


def measure(run: Run) -> Figures:
    """The service first, with as many streams as a machine carries, and then the plain loop, alone; both so often.

    The middle one of each is told, by what it took.
    """
    tries = round(run.either(TRIES, QUICK_TRIES))
    streams = run.streams(STREAMS, QUICK_STREAMS, "most_singly")  # for the plain loop hears each hop by itself
    run.end_service()  # which may still hear hops together, for who was there before
    served = []
    for number in range(tries):
        run.say(f"efficiency: {streams} live, {number + 1} of {tries}")
        served.append(asyncio.run(_served(run, streams)))
    run.end_service()
    served.sort(key=lambda one: sum(one["cpu"].values()))
    middle = served[tries // 2]
    joined = middle["joined"]
    length = FIRST + run.either(SECONDS, QUICK_SECONDS)
    talks = [talk_of(run.pcm, number % TALKS, length) for number in range(joined)]
    ways = []
    for number in range(tries):
        run.say(f"efficiency: the same in a plain loop, {joined} conversations in lockstep, {number + 1} of {tries}")
        each = [plain.apart(plain.live, talks, FIRST, batch) for batch in batches(joined)]
        ways.append(min(each, key=lambda way: float(way["cpu"])))
    ways.sort(key=_models)
    told = ways[tries // 2]
    return {
        "served": middle,
        "plain": {
            "batch": told["batch"],
            "models": _models(told),
            "cpu": told["cpu"] / told["seconds"],
            "stages": per_second(told["stages"], told["seconds"]),
            "fragments": told["fragments"] / told["seconds"],
        },
        "efficiency": _models(told) / sum(middle["cpu"].values()),
        "tries": [_models(way) / sum(one["cpu"].values()) for way in ways for one in served],
    }


def _models(way: dict[str, Any]) -> float:
    """What the models took of a second of sound, in seconds."""
    stages = per_second(way["stages"], way["seconds"])
    return sum(stages[name] for name in MODELS)


def batches(joined: int) -> list[int]:
    """The hops in a call of the plain loop: as many as the service's own calls have at most, and all at once."""
    return sorted({min(plain.BATCH, joined), joined})


async def _served(run: Run, streams: int) -> dict[str, Any]:
    """CPU by process for a second of sound, and what the stages of a hop take."""
    stages = await _stages(run.service.metrics)
    crowd = Crowd(run.service, run.pcm)
    joined = await crowd.join(streams)
    await asyncio.sleep(FIRST)
    heard = await listen(crowd, run.either(SECONDS, QUICK_SECONDS))
    dropped = await crowd.leave()
    await crowd.erase()
    await asyncio.sleep(run.either(EXPORTED_AFTER, QUICK_EXPORTED_AFTER))
    waits = {
        stage: (total - stages.get(stage, (0.0, 0.0))[0]) / max(1.0, count - stages.get(stage, (0.0, 0.0))[1])
        for stage, (total, count) in (await _stages(run.service.metrics)).items()
    }
    return {"joined": joined, "dropped": dropped, **heard, "stages": waits}


async def _stages(url: str) -> dict[str, tuple[float, float]]:
    """Seconds that hops have waited for each stage so far, and how many hops."""
    async with httpx.AsyncClient(timeout=30) as http:
        return stages_in((await http.get(url)).raise_for_status().text)


def stages_in(text: str) -> dict[str, tuple[float, float]]:
    """The same in the metrics' text, all processes together."""
    found: dict[str, dict[str, float]] = {}
    for kind, stage, value in SAMPLE.findall(text):
        sums = found.setdefault(stage, {"sum": 0.0, "count": 0.0})
        sums[kind] += float(value)
    return {stage: (sums["sum"], sums["count"]) for stage, sums in found.items()}


def tables(figures: Figures) -> list[Table]:
    """The ratio, then both sides."""
    served, alone = figures["served"], figures["plain"]
    whole = sum(served["cpu"].values())
    better = "".join(f", which take less than of {it}" for it in batches(served["joined"]) if it != alone["batch"])
    least, most = min(figures["tries"]), max(figures["tries"])
    ratio = Table(
        f"Efficiency, {served['joined']} live streams",
        ["what", "CPU ms per s of sound", "share"],
        note=f"The same models take {1000 * alone['models']:.1f} ms of the same sound in a plain loop, in batches of"
        f" {alone['batch']}{better}: efficiency {figures['efficiency']:.2f}, and {least:.2f} to {most:.2f} by the try."
        f" With what makes a conversation of what they say, the loop takes {1000 * alone['cpu']:.1f} ms. The service"
        f" kept up with {percent(served['kept_up'])} meanwhile, and dropped {served['dropped']} hops; something was"
        f" heard every {served['every']:.2f} s.",
    )
    for kind, cpu in sorted(served["cpu"].items(), key=lambda item: -item[1]):
        ratio.add(kind, f"{1000 * cpu:.2f}", percent(cpu / whole))
    ratio.add("the whole service", f"{1000 * whole:.2f}", percent(1.0))
    stages = Table(
        "Stages",
        ["stage", "plain loop, CPU ms per s of sound", "service, ms that a hop waits"],
        note=f"{alone['fragments']:.2f} fragments are read in a second of talk. A wait includes the queue; it is a"
        " rough mean, for Ray exports histograms by their buckets' middles.",
    )
    names = {"observe": "diariser", "embed": "emotion model", "conclude": "conversation"}
    for stage, name in names.items():
        waits = served["stages"].get(stage)
        waited = "-" if waits is None else f"{1000 * waits:.1f}"
        stages.add(f"{name} ({stage})", f"{1000 * alone['stages'].get(name, 0.0):.2f}", waited)
    return [ratio, stages]


def plots(figures: Figures) -> list[Plot]:
    """CPU by process, and the plain loop's beside it."""
    cpu = {kind: 1000 * taken for kind, taken in sorted(figures["served"]["cpu"].items(), key=lambda item: -item[1])}
    title = "CPU for a second of sound: the service by process, and a plain loop"
    return [bars(title, "ms", cpu | {"the models in a plain loop": 1000 * figures["plain"]["models"]})]


PART = Part("efficiency", "the models alone over the whole service, and where the rest goes", measure, tables, plots)
