"""What a report says of the machine that it is of."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from tests.benchmarks.machine import commit, here, model_in, where


def test_the_processor_is_called_by_its_name() -> None:
    assert model_in("processor\t: 0\nmodel name\t: AMD EPYC 7763\nmodel name\t: another\n") == "AMD EPYC 7763"
    assert model_in("processor : 0\nBogoMIPS : 50\n") == platform.machine()


def test_a_report_says_which_machine_which_code_and_how_busy() -> None:
    told = where(here() | {"at": "2026-11-27T08:00:00+00:00", "cpu": "EPYC", "commit": "26f829a", "load": [1.25, 2, 3]})
    assert told == f"{os.cpu_count()} cores (EPYC), 2026-11-27, commit 26f829a, load average 1.2, 2.0, 3.0 at the start"


def test_where_there_is_no_clone_there_is_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) == ""
    assert "commit" not in where(here() | {"commit": ""})


def test_what_was_changed_since_a_commit_is_not_called_by_its_name(tmp_path: Path) -> None:
    def git(*asked: str) -> str:
        known = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        return subprocess.run(["git", *known, *asked], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    git("init", "-q")
    (tmp_path / "code").write_text("1")
    git("add", "code")
    git("commit", "-qm", "one")
    assert commit(tmp_path) == git("rev-parse", "--short", "HEAD").strip()
    (tmp_path / "code").write_text("2")
    assert commit(tmp_path) == git("rev-parse", "--short", "HEAD").strip() + " with changes"
