"""Sessions that come and go for an hour: whether memory, files, threads and Redis keys stay flat. `make soak`.

    .venv/bin/python -m tests.soak --sessions 24 --minutes 60

Starts a service of its own, as shipped but that it forgets sessions after five minutes. So many people talk at a time,
for one to three minutes each, somebody watches each of them, and now and then a recording is uploaded and erased.
Prints for each process and for Redis what it held early on, once everything had come and gone once, and at the end.
Ends with status 1 where a hop is missing or something has grown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from tests.benchmarks.machine import here
from tests.benchmarks.run import AS_SHIPPED
from tests.service import Service, running_service
from tests.soak.crowd import Crowd
from tests.soak.growth import Look, compared, living, look
from tests.soak.report import table, verdict
from tests.talkers import HIGH, LOW, conversation, small_talk

SESSIONS: Final = 24  # at once: half of what two cores are to carry
LOOK_SECONDS: Final = 15.0
RETENTION: Final = 300  # s: longer than any newcomer waits to be let in
REPORT: Final = Path("build/soak.json")


async def soak(service: Service, sessions: int, seconds: float, seed: int, say: Console) -> dict[str, Any]:
    """Have a crowd talk; all figures."""
    sound, _ = conversation((LOW, HIGH), small_talk(talkers=2, seconds=300, seed=seed), seed=seed)
    people = Crowd(service, np.round(sound * 32_767).astype(np.int16), seed)
    until = time.monotonic() + seconds
    busy = [asyncio.create_task(people.talk(until)) for _ in range(sessions)]
    busy.append(asyncio.create_task(people.upload(until)))
    looks: list[Look] = []
    before = await asyncio.to_thread(living, service)
    while time.monotonic() < until:
        await asyncio.sleep(LOOK_SECONDS)
        looks.append(await asyncio.to_thread(look, service))
        left = max(0.0, until - time.monotonic())
        say.print(f"{people.sessions} sessions, {people.uploads} uploads; {left / 60:.0f} minutes left", style="dim")
    await asyncio.gather(*busy)
    after = await asyncio.to_thread(living, service)
    lags = people.lags or [np.nan]  # an hour's figures are not lost where nobody was heard to the end
    p50, p95, p99 = (float(np.percentile(lags, part)) for part in (50, 95, 99))
    return {
        "minutes": seconds / 60,
        "at_once": sessions,
        "sessions": people.sessions,
        "uploads": people.uploads,
        "refused": people.refused,
        "missing": people.missing,
        "broken": people.broken,
        "ended": sorted(name for name in before if before[name] != after.get(name)),
        "lag": {"p50": p50, "p95": p95, "p99": p99},
        "held": [asdict(held) for held in compared(looks)],
        "looks": looks,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=SESSIONS, help=f"how many talk at any time ({SESSIONS})")
    parser.add_argument("--minutes", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    parser.add_argument("--report", type=Path, default=REPORT, metavar="FILE", help=f"figures as JSON ({REPORT})")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="start nothing; print a report as Markdown")
    options = parser.parse_args()
    if options.readme:
        print(table(json.loads(options.readme.read_text())).markdown())
        return
    console = Console()
    figures = here()
    with running_service(**AS_SHIPPED | {"retention": RETENTION}) as service:
        figures |= asyncio.run(soak(service, options.sessions, options.minutes * 60, options.seed, console))
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(figures, indent=1) + "\n")
    console.print(table(figures).rich())
    if wrong := verdict(figures):
        sys.exit(" ".join(wrong))


if __name__ == "__main__":
    main()
