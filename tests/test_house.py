"""Rules of the house that a person forgets and a test does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import ROOT


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines()]


def test_every_folder_imports_only_what_it_may() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    ran = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("lock", ["gpu", "run", "test", "train"])
def test_locks_name_versions_and_hashes_and_no_index(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    packages = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:]
    assert packages
    for package in packages:
        assert re.match(r"[a-z0-9._-]+==\S+ ", package), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package
    assert "://" not in text


@pytest.mark.parametrize("lock", ["run", "train"])
def test_what_runs_is_locked_as_what_is_tested(lock: str) -> None:
    def pins(lock: str) -> set[str]:
        text = (ROOT / "requirements" / f"{lock}.lock").read_text()
        return set(re.findall(r"^[a-z0-9._-]+==\S+", text, re.MULTILINE))

    assert pins(lock) <= pins("test")


def test_the_readme_begins_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    beginning = "\n".join(lines[:15])
    assert "make run" in beginning
    assert "make test" in beginning


def test_no_recorded_sound_is_in_the_project() -> None:
    assert not tracked("*.wav", "*.flac", "*.mp3", "*.webm", "*.ogg")
