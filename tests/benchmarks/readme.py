"""The Performance section of the README, made from the figures of runs: what was aimed at beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.timeline import HOP_SECONDS
from tests.benchmarks import held
from tests.benchmarks.figures import LEAST_KEPT_UP, Figures
from tests.benchmarks.machine import where
from tests.benchmarks.run import Part
from tests.benchmarks.tables import Table, percent, seconds

OPEN = f"open: not held for {held.SECONDS:.0f} s, {held.RUNS} times"
QUICK = "open: a quick run"
EFFICIENT = 0.4
FULL, FULLER = 48, 64  # live streams, heard every half second and every second

Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """A figure for people, and whether it meets its aim: `yes`, `no` or `open`, with the reason where it needs one."""

    shown: str
    met: str


@dataclass(frozen=True)
class Aim:
    """What is to hold on two cores. `measured` finds it in figures, and raises `LookupError` where it is not there."""

    what: str
    aim: str
    measured: Callable[[Figures], Measured]


def of_level(
    streams: int, every: float, most: float, value: Callable[[Row], float], show: Callable[[float], str]
) -> Callable[[Figures], Measured]:
    """What so many streams must not exceed, while something is heard every so many seconds; the worst of all runs.

    That is one in which they were not heard so, if there is one, and what was wrong there is told, too.
    """

    def measured(figures: Figures) -> Measured:
        missed, worst = max(
            ((_missed(row, streams, every), value(row)) for row in _rows(figures, streams)),
            key=lambda run: (bool(run[0]), run[1]),
        )
        if missed:
            return Measured(show(worst), f"no: {', '.join(missed)}")
        return Measured(show(worst), _verdict(worst <= most, figures))

    return measured


def _runs(figures: Figures) -> Sequence[Figures]:
    """The runs that were held, or else what capacity looked at for seconds. Raises `LookupError` where neither is."""
    if "held" in figures:
        runs: Sequence[Figures] = figures["held"]["runs"]
        return runs
    capacity = figures["capacity"]
    return [{"levels": capacity["rows"], "dropped": capacity["dropped"], "refusal": capacity["refusal"]}]


def _rows(figures: Figures, streams: int) -> list[Row]:
    """Each run's row of so many streams, or the one at which fewer than had been asked were let in."""
    rows = []
    for run in _runs(figures):
        levels = [row for row in run["levels"] if row["asked"] <= streams]
        row = next((row for row in levels if row["asked"] == streams or row["streams"] < row["asked"]), None)
        if row is None:
            raise LookupError(f"no row of {streams} streams")
        rows.append(row | {"dropped": run["dropped"]})
    return rows


def _missed(row: Row, streams: int, every: float) -> list[str]:
    """Why a row is none of so many streams, heard so often. A hop in a hundred may be heard with its neighbour."""
    return [
        *([f"{row['streams']} let in"] if row["streams"] < streams else []),
        *([f"heard every {seconds(row['every'])} s"] if round(row["every"], 2) > every else []),
        *([f"{percent(row['kept_up'])} kept up"] if row["kept_up"] < LEAST_KEPT_UP else []),
        *([f"{row['dropped']} hops dropped"] if row["dropped"] else []),
    ]


def _verdict(met: bool, figures: Figures) -> str:
    """Whether it was met; what was met for seconds, or once, stays open."""
    known = figures.get("held")
    long_enough = known is not None and known["seconds"] >= held.SECONDS and len(known["runs"]) >= held.RUNS
    return ("yes" if long_enough else OPEN) if met else "no"


def _kept_up(figures: Figures) -> Measured:
    rows = [(row, streams) for streams in (FULL, FULLER) for row in _rows(figures, streams)]
    worst, streams = min(rows, key=lambda row: (row[0]["streams"] >= row[1], row[0]["kept_up"]))
    if worst["streams"] < streams:
        return Measured(percent(worst["kept_up"]), f"no: {worst['streams']} let in")
    return Measured(percent(worst["kept_up"]), _verdict(worst["kept_up"] >= LEAST_KEPT_UP, figures))


def _refusal(figures: Figures) -> Measured:
    refusals = [run["refusal"] for run in _runs(figures)]
    if not all(refusals):
        raise LookupError("nobody came besides")
    worst = max(refusals, key=lambda refusal: (bool(refusal["wrong"]), refusal["p95"] - refusal["p95_before"]))
    came, let_in = (sum(refusal[name] for refusal in refusals) for name in ("came", "let_in"))
    shown = f"{let_in} of {came} let in, p95 {worst['p95'] - worst['p95_before']:+.2f} s"
    if worst["wrong"]:
        return Measured(shown, f"no: {', '.join(worst['wrong'])}")
    return Measured(shown, _verdict(True, figures) if let_in < came else "open: nobody was refused")


def _once(met: bool, figures: Figures) -> str:
    """Whether what need not be held was met; a quick run looks at too little to tell."""
    return (QUICK if figures["quick"] else "yes") if met else "no"


def _efficiency(figures: Figures) -> Measured:
    part = figures["efficiency"]
    served = part["served"]
    least, most = min(part["tries"]), max(part["tries"])
    shown = f"{part['efficiency']:.2f} ({least:.2f} to {most:.2f}) with {served['joined']} streams"
    if missed := _missed(served | {"streams": served["joined"]}, served["joined"], HOP_SECONDS):
        return Measured(shown, f"no: {', '.join(missed)}")
    if least < EFFICIENT <= most:
        return Measured(shown, "open: chance decides")
    return Measured(shown, _once(least >= EFFICIENT, figures))


def _hour(figures: Figures) -> Measured:
    long = figures["batch"]["long"]
    if long["minutes"] != 60:
        raise LookupError("batch: no recording of 60 minutes")
    return Measured(f"{long['seconds']:.0f} s", _once(long["seconds"] <= 60, figures))


def _hours(figures: Figures) -> Measured:
    minutes = {row["minute"]: row["cpu"] for row in figures["hours"]["rows"]}
    if not {4, 240} <= minutes.keys():
        raise LookupError("hours: no fourth minute, or no fourth hour")
    ratio = minutes[240] / minutes[4]
    return Measured(f"{ratio:.2f} times", _once(ratio <= 1.1, figures))


def _at_rest(name: str, most: float, show: Callable[[float], str]) -> Callable[[Figures], Measured]:
    def measured(figures: Figures) -> Measured:
        parts = figures["held"]["runs"] if "held" in figures else [figures["capacity"]]
        worst = max(part["rest"][name] for part in parts)
        return Measured(show(worst), _once(worst <= most, figures))

    return measured


def _ready(figures: Figures) -> Measured:
    starts = figures["held"]["runs"] if "held" in figures else [figures["start"]]
    worst = max(start["ready_after"] for start in starts)
    return Measured(f"{worst:.1f} s", _once(worst <= 15, figures))


def _p95(row: Row) -> float:
    return float(row["p95"])


def _cpu(row: Row) -> float:
    return float(sum(row["cpu"].values()))


def _seconds(value: float) -> str:
    return f"{seconds(value)} s"


AIMS = (
    Aim(f"{FULL} live streams heard every 0.5 s, p95", "≤ 0.8 s", of_level(FULL, 0.5, 0.8, _p95, _seconds)),
    Aim(f"{FULLER} live streams heard every 1.0 s, p95", "≤ 1.0 s", of_level(FULLER, 1.0, 1.0, _p95, _seconds)),
    Aim(f"hops that kept up, {FULL} and {FULLER} live streams", f"≥ {100 * LEAST_KEPT_UP:.0f} %", _kept_up),
    Aim("who comes besides is refused in order, and those there are undisturbed", "p95 +0.1 s at most", _refusal),
    Aim("8 live streams heard every 0.5 s, p95", "≤ 0.5 s", of_level(8, 0.5, 0.5, _p95, _seconds)),
    Aim(
        f"CPU of all processes for a second of sound, {FULL} live streams",
        "≤ 0.035 s",
        of_level(FULL, 0.5, 0.035, _cpu, lambda cpu: f"{cpu:.4f} s"),
    ),
    Aim("efficiency: CPU of the models in a plain loop over that of the service", f"≥ {EFFICIENT}", _efficiency),
    Aim("60 minutes of recording, from upload to timeline", "≤ 60 s", _hour),
    Aim("a minute in the fourth hour of a session, CPU over that of the fourth minute", "≤ 1.1 times", _hours),
    Aim("memory of all processes at rest", "≤ 2.5 GB", _at_rest("memory_gb", 2.5, lambda memory: f"{memory:.2f} GB")),
    Aim("processors at rest", "≤ 8 % of a core", _at_rest("cpu", 0.08, percent)),
    Aim("from `tonetrack up` to ready", "≤ 15 s", _ready),
)


def aims(figures: Figures) -> Table:
    """Each aim beside its figure; what a run has not measured stays open."""
    shown = Table(
        "Aims, on two cores",
        ["what", "aim", "measured", "met"],
        note=f"Streams are aimed at for {held.SECONDS:.0f} s, {held.RUNS} times, with {100 * LEAST_KEPT_UP:.0f} % of"
        " hops kept up and none dropped; the figure is the worst of the runs.",
    )
    for aim in AIMS:
        try:
            measured = aim.measured(figures)
        except LookupError:
            measured = Measured("not measured", "-")
        shown.add(aim.what, aim.aim, measured.shown, measured.met)
    return shown


def headline(figures: Figures) -> str:
    """Where and when a run was, in a sentence."""
    quick = ", a quick run" if figures["quick"] else ""
    command = "make bench" + (f' ARGS="{figures["asked"]}"' if figures["asked"] else "")
    return f"`{command}` on {where(figures)}, {figures['took'] / 60:.0f} minutes{quick}."


def markdown(runs: Sequence[Figures], parts: Iterable[Part]) -> str:
    """The section: where each run was, the aims, and the tables of each part; a part's last run counts.

    Raises `ValueError` for runs of different machines.
    """
    if len(machines := {(run["cores"], run["cpu"]) for run in runs}) > 1:
        raise ValueError(f"These runs are of different machines: {', '.join(cpu for _, cpu in sorted(machines))}.")
    figures = {name: part for run in runs for name, part in run.items()}
    figures["quick"] = any(run["quick"] for run in runs)
    shown = [
        aims(figures),
        *(table for part in parts if part.name in figures for table in part.tables(figures[part.name])),
    ]
    return "\n\n".join([*map(headline, runs), *(table.markdown() for table in shown)]) + "\n"
