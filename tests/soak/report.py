"""What came of a soak, for people, and what of it does not hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tests.benchmarks.machine import where
from tests.benchmarks.tables import Table
from tests.soak.growth import Held


def verdict(figures: Mapping[str, Any]) -> list[str]:
    """What does not hold, in sentences."""
    grown = [held for held in (Held(**row) for row in figures["held"]) if held.grew]
    return [
        *([f"{figures['missing']} hops are missing."] if figures["missing"] else []),
        *(f"Ended before its time: {reason}" for reason in figures["broken"]),
        *(f"Another {name} runs at the end than in the beginning." for name in figures.get("ended", ())),
        *(f"{it.who}: {it.what} grew from {it.early:.0f} to {it.late:.0f} ({100 * it.growth:+.0f} %)." for it in grown),
    ]


def table(figures: Mapping[str, Any]) -> Table:
    """The figures, for people: a row for each process."""
    lag = figures["lag"]
    refused = f"newcomers were asked to wait {figures['refused']} times; " if figures["refused"] else ""
    columns = ("memory, MB", "files", "threads", "keys")
    shown = Table(
        f"{figures['at_once']} sessions at once for {figures['minutes']:.0f} minutes",
        ["early to late", *columns],
        note=f"On {where(figures)}: {figures['sessions']} sessions and {figures['uploads']} uploads came and went;"
        f" {refused}{figures['missing']} hops are missing; lag {lag['p50']:.2f} s, p95 {lag['p95']:.2f} s, p99"
        f" {lag['p99']:.2f} s. {' '.join(verdict(figures)) or 'Nothing grew.'}",
    )
    rows: dict[str, dict[str, str]] = defaultdict(dict)
    for held in (Held(**row) for row in figures["held"]):
        rows[held.who][held.what] = f"{held.early:.0f} to {held.late:.0f} ({100 * held.growth:+.0f} %)"
    for who, cells in rows.items():
        shown.add(who, *(cells.get(what, "") for what in columns))
    return shown
