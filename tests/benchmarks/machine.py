"""On which machine, with which code, and beside what other work something was measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.service import ROOT

CPUINFO = Path("/proc/cpuinfo")


def here() -> dict[str, Any]:
    """What a report says of the machine and the code. To be called before anything is started, for the load's sake."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "cpu": model_in(CPUINFO.read_text() if CPUINFO.exists() else ""),
        "commit": commit(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def model_in(cpuinfo: str) -> str:
    """The processor's name in what Linux says of it; the architecture's where it has none."""
    found = re.search(r"^model name\s*:\s*(.+?)\s*$", cpuinfo, re.MULTILINE)
    return found[1] if found else platform.machine()


def commit(clone: Path = ROOT) -> str:
    """The short name of what is checked out, and whether files differ from it; empty where this is no clone."""

    def git(*asked: str) -> str:
        return subprocess.run(["git", *asked], cwd=clone, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def where(figures: Mapping[str, Any]) -> str:
    """The same for people, without a full stop."""
    code = f", commit {figures['commit']}" if figures["commit"] else ""
    load = ", ".join(f"{load:.1f}" for load in figures["load"])
    return f"{figures['cores']} cores ({figures['cpu']}), {figures['at'][:10]}{code}, load average {load} at the start"
