"""What counts as growth, and which processes are to last."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.soak import growth
from tests.soak.growth import Held, Look, compared


def test_the_end_is_compared_with_what_was_there_once_all_had_come() -> None:
    looks: list[Look] = [{"page": {"files": float(files)}} for files in (1, 90, 10, 12, 14, 16, 18, 20, 22, 24)]
    looks[-1]["newcomer"] = {"files": 5.0}
    assert compared(looks) == [Held("page", "files", early=10.0, late=24.0)]


def test_what_comes_and_goes_is_no_growth_and_what_comes_slowly_is() -> None:
    """Two fifths of the time used to be looked at by nobody."""
    tides = [{"page": {"files": 100.0 + 30.0 * (number % 5)}} for number in range(120)]
    (held,) = compared(tides)
    assert abs(held.growth) < 0.02
    steps = [{"page": {"files": 100.0 + 12.0 * (number // 30)}} for number in range(120)]
    (held,) = compared(steps)
    assert held.grew


def test_only_processes_that_are_to_last_are_known_by_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = {
        3: ["ray::ServeReplica:tonetrack:Ingress.handle_request"],
        5: ["ray::ServeReplica:tonetrack:RecordingWorker"],
        4: ["python", "-m", "ui.server"],
        9: [],
    }
    monkeypatch.setattr(growth.psutil, "Process", lambda pid: SimpleNamespace(cmdline=lambda: commands[pid]))
    service: Any = SimpleNamespace(processes=lambda: commands)
    assert growth.living(service) == {"Ingress": [3], "ui.server": [4]}
