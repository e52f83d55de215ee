"""What is said to have been taken between two moments, whoever comes and goes in between."""

from __future__ import annotations

import pytest

from tests.benchmarks.usage import Usage


def test_what_a_process_took_before_it_ended_is_taken_from_nobody() -> None:
    before = Usage(0.0, {1: ("Ray", 50.0), 2: ("Ray", 3.0), 3: ("diariser", 7.0)})
    after = Usage(10.0, {2: ("Ray", 4.0), 3: ("diariser", 9.0), 4: ("Ray", 0.5)})
    assert after.since(before) == {"Ray": pytest.approx(1.5), "diariser": pytest.approx(2.0)}
    assert after.total == pytest.approx(13.5)
