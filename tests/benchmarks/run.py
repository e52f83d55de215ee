"""A run of the benchmarks: how much time it may take, and the one service that its parts share."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType

from bokeh.plotting import figure as Plot

from deployments.settings import Settings
from tests.benchmarks.crowd import talk
from tests.benchmarks.figures import Figures
from tests.benchmarks.tables import Table
from tests.service import Pcm, Service, free_port, running_service

# What a machine carries is what is measured: its lag may end it, as shipped, but no fixed number of places.
AS_SHIPPED = {
    "max_lag": Settings.model_fields["max_lag"].default,
    "max_busy": Settings.model_fields["max_busy"].default,
    "max_sessions": 512,
    "recorders_per_caller": 512,
    "sessions_per_minute": 4096,
}


@dataclass
class Run:
    """What the parts of one run share. `found`: the figures of the parts before, by their names."""

    quick: bool
    say: Callable[[str], None]
    folder: Path
    found: Figures = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @cached_property
    def service(self) -> Service:
        """The service as it is shipped, started when it is first asked for."""
        self.say("starting the service")
        began = time.monotonic()
        service = self._stack.enter_context(running_service(metrics_port=free_port(), **AS_SHIPPED))
        self.found.setdefault("start", {"ready_after": time.monotonic() - began})
        return service

    def end_service(self) -> None:
        """Stop the shared service, for what needs the whole machine."""
        if "service" in self.__dict__:
            self._stack.close()
            del self.service

    @cached_property
    def pcm(self) -> Pcm:
        """What is said."""
        return talk()

    def streams(self, full: int, quick: int, carried: str = "most") -> int:
        """So many live streams, or as many of them as the machine was found to carry: `most`, or `most_singly`."""
        wanted = round(self.either(full, quick))
        return min(wanted, self.found.get("capacity", {}).get(carried, wanted)) or 1

    def either(self, full: float, quick: float) -> float:
        """An amount, by whether the run is a quick one."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Part:
    """One part of the benchmarks: it measures, and shows what was measured, here or from a file.

    `needs`: the parts on whose figures it rests. `asked`: whether it runs only where somebody asks for it by name.
    """

    name: str
    about: str
    measure: Callable[[Run], Figures]
    tables: Callable[[Figures], list[Table]]
    plots: Callable[[Figures], list[Plot]]
    needs: tuple[str, ...] = ()
    asked: bool = False
