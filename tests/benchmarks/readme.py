"""The Performance section of the README, made from the figures of a run: what was aimed at beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.benchmarks.figures import Figures
from tests.benchmarks.run import Part
from tests.benchmarks.tables import Table, percent, seconds


@dataclass(frozen=True)
class Aim:
    """What is to hold on two cores: `figure` finds it in a run's figures, `met` says whether that will do."""

    what: str
    aim: str
    figure: Callable[[Figures], float]
    met: Callable[[float], bool]
    show: Callable[[float], str]


def _row(figures: Figures, part: str, streams: int) -> Figures:
    """The row of so many streams of PCM16. Raises `LookupError` where there is none."""
    rows = (row for row in figures[part]["rows"] if row.get("codec", "pcm16") == "pcm16")
    row = next((row for row in rows if row.get("joined", row["streams"]) == streams), None)
    if row is None:
        raise LookupError(f"{part}: no row of {streams} streams")
    found: Figures = row
    return found


def _hour(figures: Figures) -> Figures:
    """The recording of an hour. Raises `LookupError` where a shorter one was heard."""
    long: Figures = figures["batch"]["long"]
    if long["minutes"] != 60:
        raise LookupError("batch: no recording of 60 minutes")
    return long


AIMS = (
    Aim(
        "48 live streams, arrival to event, p95",
        "≤ 0.8 s",
        lambda figures: _row(figures, "capacity", 48)["p95"],
        lambda p95: p95 <= 0.8,
        lambda p95: f"{seconds(p95)} s",
    ),
    Aim(
        "8 live streams, arrival to event, p95",
        "≤ 0.5 s",
        lambda figures: _row(figures, "latency", 8)["p95"],
        lambda p95: p95 <= 0.5,
        lambda p95: f"{seconds(p95)} s",
    ),
    Aim(
        "CPU of all processes for a second of sound, 48 live streams",
        "≤ 0.035 s",
        lambda figures: sum(_row(figures, "capacity", 48)["cpu"].values()),
        lambda cpu: cpu <= 0.035,
        lambda cpu: f"{cpu:.4f} s",
    ),
    Aim(
        "efficiency: CPU of the models in a plain loop over that of the service",
        "≥ 0.4",
        lambda figures: figures["efficiency"]["efficiency"],
        lambda share: share >= 0.4,
        lambda share: f"{share:.2f}",
    ),
    Aim(
        "60 minutes of recording, from upload to timeline",
        "≤ 60 s",
        lambda figures: _hour(figures)["seconds"],
        lambda took: took <= 60,
        lambda took: f"{took:.0f} s",
    ),
    Aim(
        "memory of all processes at rest",
        "≤ 2.5 GB",
        lambda figures: figures["capacity"]["rest"]["memory_gb"],
        lambda memory: memory <= 2.5,
        lambda memory: f"{memory:.2f} GB",
    ),
    Aim(
        "processors at rest",
        "≤ 8 % of a core",
        lambda figures: figures["capacity"]["rest"]["cpu"],
        lambda cpu: cpu <= 0.08,
        percent,
    ),
    Aim(
        "from `tonetrack up` to ready",
        "≤ 15 s",
        lambda figures: figures["start"]["ready_after"],
        lambda took: took <= 15,
        lambda took: f"{took:.1f} s",
    ),
)


def aims(figures: Figures) -> Table:
    """Each aim beside its figure; what a run has not measured stays open."""
    shown = Table("Aims, on two cores", ["what", "aim", "measured", "met"])
    for aim in AIMS:
        try:
            figure = aim.figure(figures)
        except LookupError:
            shown.add(aim.what, aim.aim, "not measured", "-")
            continue
        shown.add(aim.what, aim.aim, aim.show(figure), "yes" if aim.met(figure) else "no")
    return shown


def headline(figures: Figures) -> str:
    """Where and when a run was, in a sentence."""
    quick = ", a quick run" if figures["quick"] else ""
    took = f"{figures['took'] / 60:.0f} minutes"
    return f"`make bench` on {figures['cores']} cores ({figures['machine']}), {figures['at'][:10]}, {took}{quick}."


def markdown(figures: Figures, parts: Iterable[Part]) -> str:
    """The section: where it was measured, the aims, and the first table of each part that was run."""
    tables = [aims(figures), *(part.tables(figures[part.name])[0] for part in parts if part.name in figures)]
    return "\n\n".join([headline(figures), *(table.markdown() for table in tables)]) + "\n"
