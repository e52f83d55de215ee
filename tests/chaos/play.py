"""Rounds: eight people talk and somebody uploads, something breaks, and what comes of it is held against what must."""

from __future__ import annotations

import asyncio
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from pipeline import tasks
from tests.chaos.faults import Fault, Scene
from tests.chaos.load import Script, Talk, Uploads, rehearse
from tests.chaos.stage import Stage, stage

Say = Callable[[str], None]

SESSIONS: Final = 8
CONVERSATIONS: Final = 4  # so that sessions which are taken for each other do not look alike
MOST_SECONDS: Final = 90.0  # that anything may take to recover, or to come to its end
SEED: Final = 5


@dataclass(frozen=True)
class Outcome:
    """What came of a fault. `recovered`: seconds until every session published again, or None where one did not.

    `uploads`: recordings heard meanwhile; `on`: seconds until the one under way got further. `told`: warnings and
    close codes that recorders saw, and statuses of uploads that were refused.
    """

    fault: str
    what: str
    aim: float
    recovered: float | None
    on: float | None
    uploads: int
    told: list[str]
    wrong: list[str]

    @property
    def in_time(self) -> bool:
        """Whether everybody was back as soon as they should be."""
        return self.recovered is not None and self.recovered <= self.aim


async def play(fault: Fault, on: Stage, script: Script, seconds: float, seed: int) -> Outcome:
    """One round, with conversations of so many seconds."""
    rng = random.Random(f"{seed}/{fault.name}")
    talks = [Talk(script.talks[number % len(script.talks)]) for number in range(SESSIONS)]
    extra: list[tuple[Talk, asyncio.Task[None]]] = []
    uploads = Uploads(script)

    def begin(talk: Talk) -> None:
        extra.append((talk, asyncio.create_task(talk.run(on.service.api))))

    running = [asyncio.create_task(talk.run(on.service.api, rng.uniform(0, 0.5))) for talk in talks]
    uploading = asyncio.create_task(uploads.run(on.service.api))
    wrong: list[str] = []
    recovered = further = None
    try:
        at = rng.uniform(0.35, 0.45) * seconds
        async with asyncio.timeout(MOST_SECONDS):
            while min(talk.heard for talk in talks) < at:
                await asyncio.sleep(0.02)
        since = time.monotonic()
        await fault.strike(Scene(on, script, rng, talks, uploads, begin))
        since = time.monotonic() if fault.lasts else since
        recovered, further = await _recovery(fault, on, talks, uploads, since)
        uploads.enough = True
        async with asyncio.timeout(MOST_SECONDS):
            await asyncio.gather(*running, *(task for _, task in extra), uploading)
    except (TimeoutError, AssertionError) as error:
        wrong.append(f"it did not go on: {error!r}")
    finally:
        await tasks.end(*running, *(task for _, task in extra), uploading)
    for number, talk in enumerate((*talks, *(talk for talk, _ in extra))):
        wrong += [f"session {number}: {what}" for what in talk.wrong(struck=talk in talks)]
    told = sorted({what for talk in talks for what in talk.told} | {str(status) for status in uploads.refused})
    return Outcome(fault.name, fault.what, fault.aim, recovered, further, uploads.done, told, wrong + uploads.wrong)


async def _recovery(
    fault: Fault, on: Stage, talks: Sequence[Talk], uploads: Uploads, since: float
) -> tuple[float | None, float | None]:
    """Seconds since a moment until all sessions publish again, and until an upload gets further; None: not in time."""
    further = asyncio.create_task(uploads.further(since))
    back = asyncio.create_task(_back(fault, on, since))
    recovering = [asyncio.create_task(talk.recover(since)) for talk in talks]
    _, late = await asyncio.wait({further, back, *recovering}, timeout=MOST_SECONDS)
    await tasks.end(*late)
    recovered = None if late - {further} else max(back.result(), *(talk.recovered or 0.0 for talk in talks))
    return recovered, None if further in late else further.result()


async def _back(fault: Fault, on: Stage, since: float) -> float:
    """Seconds until all works again that a fault has broken besides the sessions."""
    while not await asyncio.to_thread(fault.back, on):
        await asyncio.sleep(0.1)
    return time.monotonic() - since


def run(faults: Sequence[Fault], seconds: float, seed: int, say: Say) -> dict[str, Any]:
    """Play all of these; returns the figures, with the machine that they are of. Raises `CannotPlay`."""
    began, outcomes = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="tonetrack-chaos-") as folder, stage(Path(folder)) as on:

        async def play_all() -> None:
            say("hearing everything undisturbed")
            script = await rehearse(on.service.api, seconds, CONVERSATIONS, seed)
            for fault in faults:
                say(fault.what)
                await on.settle()
                outcomes.append(await play(fault, on, script, seconds, seed))
                for what in outcomes[-1].wrong:
                    say(f"  {what}")

        asyncio.run(play_all())
    return {
        "machine": f"{os.cpu_count()} cores ({platform.machine()})",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": [round(load, 1) for load in os.getloadavg()],
        "seed": seed,
        "took": round(time.monotonic() - began),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }


def table(figures: dict[str, Any]) -> Table:
    """The figures, for people."""
    title = f"{SESSIONS} live sessions and uploads on {figures['machine']}, {figures['at'][:10]}"
    caption = f"load average {', '.join(map(str, figures['load']))}; seed {figures['seed']}; {figures['took']} s in all"
    shown = Table("what happened", title=title, caption=caption)
    for name in ("back after, s", "aim, s", "upload on after, s", "uploads"):
        shown.add_column(name, justify="right")
    shown.add_column("told")
    shown.add_column("wrong")
    for outcome in (Outcome(**outcome) for outcome in figures["outcomes"]):
        shown.add_row(
            outcome.what,
            _seconds(outcome.recovered, "green" if outcome.in_time else "yellow"),
            f"{outcome.aim:g}",
            _seconds(outcome.on),
            str(outcome.uploads),
            ", ".join(outcome.told),
            f"[red]{len(outcome.wrong)}[/]" if outcome.wrong else "nothing",
        )
    return shown


def _seconds(seconds: float | None, style: str = "default") -> str:
    return "[red]never[/]" if seconds is None else f"[{style}]{seconds:.1f}[/]"
