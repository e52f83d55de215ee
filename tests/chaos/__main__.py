"""Breaks a running service in every way that we know of, and sees what comes of it: `make chaos`.

    .venv/bin/python -m tests.chaos --quick

Starts a service and a Redis of its own. Eight synthetic conversations stream in real time and recordings are uploaded,
while one thing after another breaks. After each, no hop may be lost or told twice, every timeline must be that of an
undisturbed run, and every client must have been told of what it noticed. Ends with status 1 where that does not hold.
How long it took until every session published again is measured, and no reason to fail: that depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from tests.chaos.faults import FAULTS
from tests.chaos.play import SEED, run, table
from tests.chaos.stage import CannotPlay

SECONDS, QUICK_SECONDS = 24.0, 16.0  # of a conversation


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
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args()
    wanted = options.only or [fault.name for fault in FAULTS if fault.quick or not options.quick]
    console = Console()
    try:
        figures = run(
            [fault for fault in FAULTS if fault.name in wanted],
            QUICK_SECONDS if options.quick else SECONDS,
            options.seed,
            lambda step: console.print(f"{step} ...", style="dim", highlight=False),
        )
    except CannotPlay as error:
        sys.exit(str(error))
    console.print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(any(outcome["wrong"] for outcome in figures["outcomes"]))


if __name__ == "__main__":
    main()
