"""`make bench`: what ToneTrack carries, how soon it answers, what that costs, and beside what.

    .venv/bin/python -m tests.benchmarks --quick --report figures.json
    .venv/bin/python -m tests.benchmarks --only held --only hours --report held.json

Each part prints its tables. The figures go to a JSON file, and with the plots to a page of the same name that needs no
network. Everything is measured in one run on one machine, so that ratios mean something.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from rich.console import Console

from tests.benchmarks import batch, capacity, card, efficiency, held, hours, latency, length, paper, rush, sides
from tests.benchmarks.figures import Figures
from tests.benchmarks.machine import here
from tests.benchmarks.plots import Shown, page
from tests.benchmarks.readme import aims, headline, markdown
from tests.benchmarks.run import Part, Run

MODULES = (latency, capacity, rush, held, length, hours, efficiency, batch, sides, card, paper)
PARTS: dict[str, Part] = {module.PART.name: module.PART for module in MODULES}
REPORT = Path("build/benchmark.json")
WIDTH = 120  # of what is printed where there is no terminal


def measure(parts: Iterable[Part], quick: bool, console: Console, report: Path) -> Figures:
    """The figures of some parts. Each is printed and kept as soon as it is there: no failure of another takes it away.

    Why a part failed stands under `failed`.
    """
    parts = list(parts)
    asked = " ".join(f"--only {part.name}" for part in parts) if parts != chosen(()) else ""
    figures: Figures = {**here(), "quick": quick, "asked": asked, "failed": {}}
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        Run(quick, lambda step: console.print(f"{step} ...", style="dim"), Path(folder), figures) as run,
    ):
        for part in parts:
            try:
                if missing := [name for name in part.needs if name in figures["failed"]]:
                    raise RuntimeError(f"it rests on {' and '.join(missing)}")
                figures[part.name] = part.measure(run)
            except Exception as error:  # whatever it is, the parts that come after it do not rest on it
                figures["failed"][part.name] = f"{type(error).__name__}: {error}"
                console.print(f"{part.name} failed", style="red")
                console.print_exception()
                run.end_service()
            figures["took"] = time.monotonic() - began
            report.write_text(json.dumps(figures, indent=1) + "\n")
            for table in part.tables(figures[part.name]) if part.name in figures else ():
                console.print(table.rich())
                console.print()
    return figures


def write_page(figures: Figures, html: Path) -> None:
    """All tables and plots on one page."""
    shown: dict[str, Shown] = {headline(figures).replace("`", ""): ([aims(figures)], [])}
    for part in PARTS.values():
        if part.name in figures:
            shown[part.about] = part.tables(figures[part.name]), part.plots(figures[part.name])
    html.write_text(page("ToneTrack's benchmarks", shown))


def chosen(only: Collection[str]) -> list[Part]:
    """The parts that were named, in their order; where none was, all that need no asking for.

    Raises `ValueError` where one lacks another.
    """
    parts = [part for name, part in PARTS.items() if name in only or not (only or part.asked)]
    for part in parts:
        if missing := set(part.needs) - {other.name for other in parts}:
            raise ValueError(f"{part.name} rests on {' and '.join(sorted(missing))}: name these with --only, too.")
    return parts


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parts = "\n".join(f"  {part.name:<12}{part.about}" for part in PARTS.values())
    options = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=f"{__doc__}\nparts, in the order in which they run:\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--quick", action="store_true", help="less of everything: at most 4 minutes in place of 20")
    options.add_argument("--only", choices=PARTS, action="append", metavar="PART", help="this part; may be repeated")
    options.add_argument("--report", type=Path, default=REPORT, metavar="FILE", help=f"figures as JSON ({REPORT})")
    options.add_argument(
        "--readme",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="measure nothing; print reports as Markdown, as one: of the whole and of what was asked for besides",
    )
    return options


def main() -> None:
    """Measure, print, write; or print what was measured before."""
    options_of = parser()
    options = options_of.parse_args()
    if options.readme:
        print(markdown([json.loads(report.read_text()) for report in options.readme], PARTS.values()), end="")
        return
    try:
        parts = chosen(options.only or ())
    except ValueError as error:
        options_of.error(str(error))
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    figures = measure(parts, options.quick, console, options.report)
    console.print(aims(figures).rich())
    html = options.report.with_suffix(".html")
    write_page(figures, html)
    console.print(f"{options.report} holds the figures, {html} the plots", highlight=False)
    if failed := figures["failed"]:
        sys.exit("\n".join(f"{name} failed: {why}" for name, why in failed.items()))


if __name__ == "__main__":
    main()
