"""Processes of our own, which end when we do; and one that is started anew whenever it ends by itself."""

from __future__ import annotations

import ctypes
import logging
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

GRACE_SECONDS: Final = 5.0  # for a process to end by itself
MOST_STARTS, WITHIN_SECONDS = 5, 60.0  # more starts in that time are no accident

logger = logging.getLogger(__name__)


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, so that Ctrl-C reaches it through us, in order; it does not outlive us."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Revived:
    """A process that holds nothing which its successor could not find again. `process` is the one that runs now."""

    process: subprocess.Popen[bytes]

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._environment = environment
        self._stack = ExitStack()
        self._starts: deque[float] = deque(maxlen=MOST_STARTS)

    def __enter__(self) -> Revived:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def revive(self) -> bool:
        """Start it anew if it has ended; returns whether it runs, which is not so where it has ended too often."""
        if self.process.poll() is None:
            return True
        if len(self._starts) == MOST_STARTS and time.monotonic() - self._starts[0] < WITHIN_SECONDS:
            return False
        logger.error("%s ended with status %d and is started anew", self._command[-1], self.process.returncode)
        self._stack.close()
        self._start()
        return True

    def _start(self) -> None:
        self._starts.append(time.monotonic())
        self.process = self._stack.enter_context(running(self._command, self._environment))


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent is gone, even by SIGKILL (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
