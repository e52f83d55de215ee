"""Breaks a running service in every way that we know of, and sees what comes of it: `make chaos`.

    .venv/bin/python -m tests.chaos --quick

Starts a service and a Redis of its own. Eight synthetic conversations stream in real time and recordings are uploaded,
while one thing after another breaks. After each, no hop may be lost or told twice, every timeline must be that of an
undisturbed run, and every client must have been told of what it noticed. Ends with status 1 where that does not hold,
or where something never came back. How long that took is measured, and no reason to fail: it depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.chaos.faults import FAULTS
from tests.chaos.play import SEED, run
from tests.chaos.report import markdown, table
from tests.chaos.stage import CannotPlay

SECONDS, QUICK_SECONDS = 24.0, 16.0  # of a conversation
REPORT = Path("build/chaos.json")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        epilog="\n".join(f"{fault.name:14} {fault.what}" for fault in FAULTS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--quick", action="store_true", help="the most telling ones, in shorter conversations")
    parser.add_argument("--only", metavar="NAME", choices=names, action="append", help="this one; may be repeated")
    parser.add_argument("--seed", type=int, default=SEED, help="of conversations and moments (default: %(default)s)")
    parser.add_argument("--report", type=Path, default=REPORT, metavar="FILE", help=f"figures as JSON ({REPORT})")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="break nothing; print a report as Markdown")
    options = parser.parse_args()
    if options.readme:
        print(markdown(json.loads(options.readme.read_text())), end="")
        return
    wanted = options.only or [fault.name for fault in FAULTS if fault.quick or not options.quick]
    console = Console()

    def keep(figures: dict[str, Any]) -> None:
        options.report.write_text(json.dumps(figures, indent=1) + "\n")

    options.report.parent.mkdir(parents=True, exist_ok=True)
    try:
        figures = run(
            [fault for fault in FAULTS if fault.name in wanted],
            QUICK_SECONDS if options.quick else SECONDS,
            options.seed,
            lambda step: console.print(f"{step} ...", style="dim", highlight=False),
            keep,
        )
    except CannotPlay as error:
        sys.exit(str(error))
    console.print(table(figures))
    sys.exit(any(outcome["wrong"] for outcome in figures["outcomes"]))


if __name__ == "__main__":
    main()
