"""Processes of our own: one that is started anew when it ends, and none that stays."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from deployments.processes import MOST_STARTS, Revived

SLEEPING = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def sleeping() -> Iterator[Revived]:
    with Revived(SLEEPING) as process:
        yield process


def test_a_killed_process_is_started_anew(sleeping: Revived) -> None:
    first = sleeping.process.pid
    assert sleeping.revive()
    assert sleeping.process.pid == first, "it runs"
    os.kill(first, signal.SIGKILL)
    sleeping.process.wait(10)
    assert sleeping.revive()
    assert sleeping.process.pid != first
    assert sleeping.process.poll() is None


def test_what_ends_again_and_again_is_given_up() -> None:
    with Revived([sys.executable, "-c", "raise SystemExit(3)"]) as ending:
        starts = 1
        ending.process.wait(10)
        while starts <= MOST_STARTS and ending.revive():
            starts += 1
            ending.process.wait(10)
        assert starts == MOST_STARTS
        assert ending.process.returncode == 3


def test_a_process_that_has_ended_now_and_then_is_started_anew(
    sleeping: Revived, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    for number in range(2 * MOST_STARTS):
        monkeypatch.setattr(time, "monotonic", lambda now=started + 20 * number: now)
        sleeping.process.kill()
        sleeping.process.wait(10)
        assert sleeping.revive()


def test_it_ends_with_us() -> None:
    with Revived(SLEEPING) as sleeping:
        pid = sleeping.process.pid
    assert not psutil.pid_exists(pid)
