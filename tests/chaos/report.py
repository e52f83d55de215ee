"""What came of all rounds, for a terminal and for the README."""

from __future__ import annotations

from typing import Any

from rich.table import Table as RichTable

from tests.benchmarks.machine import where
from tests.benchmarks.tables import Table
from tests.chaos.play import SESSIONS, Outcome


def table(figures: dict[str, Any]) -> RichTable:
    """The figures, for a terminal."""
    title = f"{SESSIONS} live sessions and uploads on {where(figures)}"
    shown = RichTable("what happened", title=title, caption=f"seed {figures['seed']}; {figures['took']} s in all")
    for name in ("back after, s", "aim, s", "upload on after, s", "uploads"):
        shown.add_column(name, justify="right")
    shown.add_column("told")
    shown.add_column("wrong")
    for outcome in (Outcome(**outcome) for outcome in figures["outcomes"]):
        shown.add_row(
            outcome.what,
            _coloured(outcome.recovered, "green" if outcome.in_time else "yellow"),
            f"{outcome.aim:g}",
            _coloured(outcome.on),
            str(outcome.uploads),
            ", ".join(outcome.told),
            f"[red]{len(outcome.wrong)}[/]" if outcome.wrong else "nothing",
        )
    return shown


def _coloured(seconds: float | None, style: str = "default") -> str:
    return "[red]never[/]" if seconds is None else f"[{style}]{seconds:.1f}[/]"


def markdown(figures: dict[str, Any]) -> str:
    """The table of the README's Reliability section, below where it was played, and above what was wrong."""
    outcomes = [Outcome(**outcome) for outcome in figures["outcomes"]]
    wrong = [f"- {outcome.what}: {what}" for outcome in outcomes for what in outcome.wrong]
    shown = Table(
        "Until every conversation was published again, and what else was broken was back",
        ["fault", "back after", "aim", "told", "wrong"],
    )
    for outcome in outcomes:
        shown.add(
            outcome.what,
            "never" if outcome.recovered is None else f"{outcome.recovered:.1f} s",
            f"{outcome.aim:g} s",
            ", ".join(map(told, outcome.told)) or "-",
            str(len(outcome.wrong) or "nothing"),
        )
    headline = f"`make chaos` on {where(figures)}, seed {figures['seed']}, {figures['took'] / 60:.0f} minutes."
    return "\n\n".join([headline, shown.markdown(), *(["\n".join(wrong)] if wrong else [])]) + "\n"


def told(what: str) -> str:
    """A warning, a close code of a WebSocket or a status of HTTP, in words."""
    if what == "1006":
        return "the line broke (1006)"
    if what.isdigit():
        return f"close code {what}" if len(what) == 4 else f"status {what}"
    return f"warning `{what}`"
