"""Whether a soak would say so, if something grew or went missing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.examples import MACHINE
from tests.service import ROOT
from tests.soak.growth import Held
from tests.soak.report import table, verdict


def figures(*held: Held, missing: int = 0) -> dict[str, Any]:
    return {
        **MACHINE,
        "minutes": 60.0,
        "at_once": 24,
        "sessions": 700,
        "uploads": 30,
        "refused": 0,
        "missing": missing,
        "broken": [],
        "ended": [],
        "lag": {"p50": 0.1, "p95": 0.2, "p99": 0.3},
        "held": [asdict(each) for each in held],
    }


@pytest.mark.parametrize(
    ("held", "grew"),
    [
        (Held("page", "memory, MB", 100, 111), True),
        (Held("page", "memory, MB", 100, 110), False),
        (Held("page", "memory, MB", 1_000, 1_090), False),
        (Held("page", "memory, MB", 20, 29), False),
        (Held("page", "files", 20, 31), True),
        (Held("page", "files", 20, 30), False),
        (Held("page", "threads", 10, 21), True),
        (Held("page", "threads", 10, 20), False),
        (Held("data in Redis", "keys", 100, 151), True),
        (Held("data in Redis", "keys", 100, 150), False),
        (Held("data in Redis", "keys", 0, 51), True),
        (Held("page", "memory, MB", 200, 100), False),
    ],
)
def test_something_grew_by_its_share_and_by_more_than_chance(held: Held, grew: bool) -> None:
    assert bool(verdict(figures(held))) is grew


def test_what_does_not_hold_is_said_in_sentences() -> None:
    found = figures(Held("page", "files", 20, 40), Held("proxy", "files", 20, 20), missing=3)
    assert verdict(found | {"broken": ["RecordingRefused: Gone."], "ended": ["Ingress"]}) == [
        "3 hops are missing.",
        "Ended before its time: RecordingRefused: Gone.",
        "Another Ingress runs at the end than in the beginning.",
        "page: files grew from 20 to 40 (+100 %).",
    ]


def test_the_command_prints_a_report_and_starts_nothing(tmp_path: Path) -> None:
    known = figures(Held("page", "files", 20, 20))
    report = tmp_path / "soak.json"
    report.write_text(json.dumps(known))
    asked = [sys.executable, "-m", "tests.soak", "--readme", str(report)]
    ran = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == table(known).markdown() + "\n"
    assert "| page |  | 20 to 20 (+0 %) |  |  |" in ran.stdout
    assert "0 hops are missing; lag 0.10 s" in ran.stdout
    assert "Nothing grew." in ran.stdout
