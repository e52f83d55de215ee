"""How far an analysis is, for whoever waits at a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from training.console import console, say

if TYPE_CHECKING:
    from rich.progress import TaskID

    from deployments.analysis import Outcome
    from deployments.analysis.files import Task

PLAIN_SECONDS: Final = 10.0  # between two lines about the same step where there are no bars


class Display:
    """Bars for what is under way and for all of it, or plain lines where nobody looks at a terminal."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        described, told = (TextColumn(f"{{task.{what}}}", markup=False) for what in ("description", "fields[told]"))
        columns = (described, BarColumn(20), TaskProgressColumn(), told, TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._plain = not console.is_terminal
        self._bars: dict[str, TaskID] = {}
        self._said: dict[str, tuple[str, float]] = {}
        self._shares: dict[str, float] = {}
        self._total = total
        self._over = 0
        self._all = self._progress.add_task("all", total=max(1, total), told="", visible=total > 1)

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, task: Task, step: str, share: float = 0.0) -> None:
        """How far a recording is: what is done with it, and the share of all that is to be done."""
        if self._plain:
            what, at = self._said.get(task.source, ("", 0.0))
            kind = step.split(",")[0]
            if kind != what or time.monotonic() - at >= PLAIN_SECONDS:
                self._said[task.source] = (kind, time.monotonic())
                say(f"{task.label}: {step}" + (f" ({share:.0%} of all)" if share else ""))
            return
        if task.source not in self._bars:
            self._bars[task.source] = self._progress.add_task(_short(task.label), total=1.0, told="")
        self._progress.update(self._bars[task.source], completed=share, told=step)
        self._shares[task.source] = share
        self._show_all()

    def over(self, outcome: Outcome) -> None:
        """A recording is done with."""
        from deployments.analysis.files import Task

        self._over += 1
        self._said.pop(outcome.source, None)
        self._shares.pop(outcome.source, None)
        if (bar := self._bars.pop(outcome.source, None)) is not None:
            self._progress.remove_task(bar)
        self._show_all()
        if not outcome.problem:
            label = Task(outcome.source, "").label
            number = f"[{self._over} of {self._total}] " if self._total > 1 else ""
            say(f"{number}{label}: {length(outcome.seconds)} of sound in {length(outcome.took)}")

    def _show_all(self) -> None:
        done = self._over + sum(self._shares.values())
        self._progress.update(self._all, completed=done, told=f"{self._over} of {self._total} recordings")


def count(recordings: int) -> str:
    """So many recordings, in words."""
    return f"{recordings} {'recording' if recordings == 1 else 'recordings'}"


def length(seconds: float) -> str:
    """So long, in words."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h" if minutes >= 60 else f"{minutes}:{rest:02d} min"


def _short(label: str) -> str:
    return label if len(label) <= 40 else f"…{label[-39:]}"
