"""Rounds: eight people talk and somebody uploads, something breaks, and what comes of it is held against what must."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pipeline import tasks
from tests.benchmarks.machine import here
from tests.chaos.faults import Fault, Scene
from tests.chaos.holds import TELLING, recovery_wrong, refused_wrong
from tests.chaos.load import Script, Talk, Uploads, rehearse
from tests.chaos.stage import Stage, stage

Say = Callable[[str], None]

SESSIONS: Final = 8
CONVERSATIONS: Final = 4  # so that sessions which are taken for each other do not look alike
MOST_SECONDS: Final = 90.0  # that anything may take to recover, or to come to its end
SEED: Final = 5


@dataclass(frozen=True)
class Outcome:
    """What came of a fault. `recovered`: seconds until every session published again and all else that it broke was
    back, or None where that was not in time.

    `uploads`: recordings heard meanwhile; `on`: seconds until the one under way got further. `told`: warnings and
    close codes that recorders saw, and statuses that told uploads to come again.
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
    struck = list(talks)
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
        for talk in talks:
            talk.strike()
        since = time.monotonic()
        async with asyncio.timeout(MOST_SECONDS):
            await fault.strike(Scene(on, script, rng, talks, uploads, begin))
        since = time.monotonic() if fault.lasts else since
        struck += [talk for talk, _ in extra if talk.struck_at is not None]
        recovered, further = await _recovery(fault, on, struck, uploads, since)
        wrong += recovery_wrong(recovered, further, MOST_SECONDS)
        uploads.enough = True
        async with asyncio.timeout(MOST_SECONDS):
            await asyncio.gather(*running, *(task for _, task in extra), uploading)
    except Exception as error:  # whatever it is, the other rounds stand
        wrong.append(f"it did not go on: {error!r}")
    finally:
        await tasks.end(*running, *(task for _, task in extra), uploading)
    for number, talk in enumerate((*talks, *(talk for talk, _ in extra))):
        wrong += [f"session {number}: {what}" for what in talk.wrong()]
    wrong += uploads.wrong + refused_wrong("uploads", uploads.refused)
    told = {what for talk in struck for what in talk.told} | {str(it) for it in uploads.refused if it in TELLING}
    return Outcome(fault.name, fault.what, fault.aim, recovered, further, uploads.done, sorted(told), wrong)


async def _recovery(
    fault: Fault, stage: Stage, talks: Sequence[Talk], uploads: Uploads, since: float
) -> tuple[float | None, float | None]:
    """Seconds since a moment until all sessions publish again, and until an upload gets further; None: not in time."""
    further = asyncio.create_task(uploads.further(since))
    back = asyncio.create_task(_back(fault, stage, since))
    recovering = [asyncio.create_task(talk.recover(since)) for talk in talks]
    _, late = await asyncio.wait({further, back, *recovering}, timeout=MOST_SECONDS)
    await tasks.end(*late)
    on = None if further in late else further.result()
    if late - {further} or (fault.uploads and on is None):
        return None, on
    waited = [back.result(), *(talk.recovered or 0.0 for talk in talks)]
    return max([*waited, on] if fault.uploads and on is not None else waited), on


async def _back(fault: Fault, on: Stage, since: float) -> float:
    """Seconds until all works again that a fault has broken besides the sessions."""
    while not await asyncio.to_thread(fault.back, on):
        await asyncio.sleep(0.1)
    return time.monotonic() - since


def run(
    faults: Sequence[Fault],
    seconds: float,
    seed: int,
    say: Say,
    keep: Callable[[dict[str, Any]], None] = lambda figures: None,
) -> dict[str, Any]:
    """Play all of these; returns the figures, with the machine that they are of. Raises `CannotPlay`.

    `keep` gets the figures after each round: no later failure takes them away.
    """
    began, figures = time.monotonic(), {**here(), "seed": seed, "outcomes": []}
    with tempfile.TemporaryDirectory(prefix="tonetrack-chaos-") as folder, stage(Path(folder)) as on:

        async def play_all() -> None:
            say("hearing everything undisturbed")
            script = await rehearse(on.service.api, seconds, CONVERSATIONS, seed)
            for fault in faults:
                say(fault.what)
                outcome = await _round(fault, on, script, seconds, seed)
                for what in outcome.wrong:
                    say(f"  {what}")
                figures["outcomes"].append(asdict(outcome))
                figures["took"] = round(time.monotonic() - began)
                keep(figures)

        asyncio.run(play_all())
    return figures


async def _round(fault: Fault, on: Stage, script: Script, seconds: float, seed: int) -> Outcome:
    """One round, once what the last one broke is whole again."""
    try:
        await on.settle()
    except AssertionError as error:
        return Outcome(fault.name, fault.what, fault.aim, None, None, 0, [], [str(error)])
    return await play(fault, on, script, seconds, seed)
