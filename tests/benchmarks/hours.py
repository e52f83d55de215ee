"""Hours: what a minute of conversation takes in the fourth minute of a session, and in the fourth hour."""

from __future__ import annotations

from tests.benchmarks import length
from tests.benchmarks.figures import Figures
from tests.benchmarks.run import Part, Run

MINUTES, QUICK_MINUTES = (4, 60, 120, 240), (2, 6)


def measure(run: Run) -> Figures:
    """Four hours of one session."""
    return length.of_minutes(run, QUICK_MINUTES if run.quick else MINUTES)


PART = Part(
    "hours",
    "what the minutes of four hours take, a quarter of an hour or more; runs only when named",
    measure,
    length.tables,
    length.plots,
    asked=True,
)
