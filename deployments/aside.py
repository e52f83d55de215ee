"""Work that nobody waits for, beside work that somebody does."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

NICER: Final = 10  # than the process's other threads: gets a tenth of a core that those want

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


class Aside:
    """Threads of low priority: they take what the live sessions leave, which on an idle machine is everything."""

    def __init__(self, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, "aside", initializer=_yield_to_others)

    async def __call__(
        self, work: Callable[Parameters, Answer], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Answer:
        """What `work` answers, once there is a thread for it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))

    async def each(self, pieces: Iterator[str]) -> AsyncIterator[str]:
        """The pieces, each of them made here."""
        while (piece := await self(next, pieces, None)) is not None:
            yield piece


def _yield_to_others() -> None:
    if sys.platform == "linux":  # elsewhere niceness is a process's, and these threads share theirs with live ones
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICER))
