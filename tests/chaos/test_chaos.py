"""A running service, broken in those ways that show the most: `make chaos` breaks it in all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.__main__ import QUICK_SECONDS
from tests.chaos.faults import FAULTS
from tests.chaos.play import SEED, run
from tests.chaos.stage import CannotPlay
from tests.conftest import missing


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_whatever_breaks_nothing_is_lost_and_nothing_told_twice(note: Callable[[str, object], None]) -> None:
    try:
        figures = run([fault for fault in FAULTS if fault.quick], QUICK_SECONDS, SEED, print)
    except CannotPlay as reason:
        missing(str(reason))
    for outcome in figures["outcomes"]:
        note(f"{outcome['what']}: back after, s", outcome["recovered"])
    assert {outcome["fault"]: outcome["wrong"] for outcome in figures["outcomes"] if outcome["wrong"]} == {}
    assert all(outcome["recovered"] is not None for outcome in figures["outcomes"])
