"""What the README tells of chaos."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.examples import MACHINE
from tests.chaos.play import Outcome
from tests.chaos.report import markdown, told
from tests.service import ROOT


def figures(*outcomes: Outcome) -> dict[str, object]:
    return {**MACHINE, "seed": 5, "took": 840, "outcomes": [asdict(outcome) for outcome in outcomes]}


WELL = Outcome("ingress", "SIGKILL of the ingress", 5.0, 3.24, 0.5, 2, ["1006", "stuck"], [])
ILL = Outcome("disk", "the disk is full", 5.0, None, None, 2, ["503"], ["session 0: the hop at 1 s was lost"])


def test_the_readme_tells_where_it_was_played_and_what_came_of_it() -> None:
    text = markdown(figures(WELL, ILL))
    assert text.startswith(
        "`make chaos` on 2 cores (EPYC), 2026-11-26, commit 26f829a,"
        " load average 0.5, 1.0, 1.5 at the start, seed 5, 14 minutes."
    )
    assert "| SIGKILL of the ingress | 3.2 s | 5 s | the line broke (1006), warning `stuck` | nothing |" in text
    assert "| the disk is full | never | 5 s | status 503 | 1 |" in text
    assert "- the disk is full: session 0: the hop at 1 s was lost" in text


def test_what_clients_are_told_is_called_by_its_name() -> None:
    words = ["the line broke (1006)", "close code 1011", "status 507", "warning `resumed`"]
    assert [told(what) for what in ("1006", "1011", "507", "resumed")] == words


def test_the_command_prints_a_report_and_breaks_nothing(tmp_path: Path) -> None:
    report = tmp_path / "chaos.json"
    report.write_text(json.dumps(figures(WELL)))
    asked = [sys.executable, "-m", "tests.chaos", "--readme", str(report)]
    ran = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == markdown(figures(WELL))
