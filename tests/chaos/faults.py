"""What can break, each as somebody does it who watches the clock: real processes, real signals, a real disk."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.chaos.load import Script, Talk, Uploads
from tests.chaos.stage import Stage

REDIS_AIM: Final = 10.0
PAUSE_SECONDS: Final = 10.0
DOWN_SECONDS: Final = 1.0  # what a supervisor takes to start Redis again
JUMPS: Final = (60, -60)  # s ahead of the kernel's clock: forward by a minute, then back by two
JUMP_SECONDS: Final = 4.0  # that a clock stays wrong
BREAKS: Final = 20
SHORTEST_LINE, LONGEST_LINE = 0.05, 0.3  # s that a line holds: from hardly a greeting to some frames


@dataclass(frozen=True)
class Scene:
    """What a fault may reach for."""

    stage: Stage
    script: Script
    rng: random.Random
    talks: list[Talk]
    uploads: Uploads
    begin: Callable[[Talk], None]  # has another session begin


@dataclass(frozen=True)
class Fault:
    """One thing that breaks. `strike` comes back when it is over; where it `lasts`, recovery counts from then.

    `aim`: seconds to recover in. `back`: what else has to work again; `uploads`: whether the one that is under way has
    to get further. `quick`: whether it is among those that show most in the least time.
    """

    name: str
    what: str
    strike: Callable[[Scene], Awaitable[None]]
    aim: float = 5.0
    lasts: bool = False
    quick: bool = False
    uploads: bool = False
    back: Callable[[Stage], bool] = lambda stage: True


async def _kill(part: str, scene: Scene) -> None:
    scene.stage.kill(part, scene.rng)


async def _kill_worker(scene: Scene) -> None:
    async with asyncio.timeout(60):  # until it is in the middle of something
        while not 0.05 < scene.uploads.progress % 1 < 0.8:
            await asyncio.sleep(0.02)
    scene.stage.kill("ServeReplica:tonetrack:RecordingWorker", scene.rng)


async def _restart_redis(scene: Scene) -> None:
    scene.stage.store.kill()
    await asyncio.sleep(DOWN_SECONDS)
    await asyncio.to_thread(scene.stage.store.start)


async def _pause_redis(scene: Scene) -> None:
    os.kill(scene.stage.store.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(PAUSE_SECONDS)
    finally:
        os.kill(scene.stage.store.pid, signal.SIGCONT)


async def _fill_disk(scene: Scene) -> None:
    refused = len(scene.uploads.refused)
    with scene.stage.full_disk() as fill:
        async with asyncio.timeout(60):  # until an upload has met it
            while len(scene.uploads.refused) == refused:
                fill()
                await asyncio.sleep(0.02)


async def _jump(scene: Scene) -> None:
    try:
        for seconds in JUMPS:
            scene.stage.clock.jump(seconds)
            await asyncio.sleep(JUMP_SECONDS)
            ahead = [(talk.events[-1].published_at or 0.0) - time.time() for talk in scene.talks]
            jumped = [abs(each - seconds) < abs(seconds) / 2 for each in ahead]
            assert sum(jumped) > len(jumped) / 2, "the service reads another clock"
    finally:
        scene.stage.clock.jump(0)


async def _vanish(scene: Scene) -> None:
    scene.begin(Talk(scene.script.talks[0], vanishes=True))


async def _hurry(scene: Scene) -> None:
    scene.begin(Talk(scene.script.talks[0], pace=20))


async def _dawdle(scene: Scene) -> None:
    scene.begin(Talk(scene.script.half, pace=0.5))


async def _reconnect(scene: Scene) -> None:
    talk = Talk(scene.script.talks[0])
    scene.begin(talk)
    while talk.heard == 0:
        await asyncio.sleep(0.02)
    talk.strike()
    while talk.breaks < BREAKS:
        assert not talk.over, f"the talk was over after {talk.breaks} of {BREAKS} breaks"
        talk.interrupt()
        await asyncio.sleep(scene.rng.uniform(SHORTEST_LINE, LONGEST_LINE))


def _replica(of: str) -> Callable[[Scene], Awaitable[None]]:
    return partial(_kill, f"ServeReplica:tonetrack:{of}")


FAULTS: Final = (
    Fault("ingress", "SIGKILL of the ingress", _replica("Ingress"), quick=True),
    Fault("session-actor", "SIGKILL of the session actor", partial(_kill, "ray::SessionActor"), quick=True),
    Fault("diariser", "SIGKILL of the diariser", _replica("Diariser")),
    Fault("emotion", "SIGKILL of the emotion recogniser", _replica("EmotionRecogniser")),
    Fault("worker", "SIGKILL of the worker that hears a recording", _kill_worker, lasts=True, uploads=True),
    Fault(
        "controller",
        "SIGKILL of Serve's controller",
        partial(_kill, "ray::ServeController"),
        back=Stage.controlled,
    ),
    Fault("page", "SIGKILL of the page's server", partial(_kill, "ui.server"), back=Stage.page_answers),
    Fault("redis", "SIGKILL of Redis, started again after a second", _restart_redis, REDIS_AIM, quick=True),
    Fault("redis-paused", "Redis stands still for 10 s", _pause_redis, REDIS_AIM, lasts=True),
    Fault("vanishing", "a client vanishes without a word", _vanish),
    Fault("reconnecting", "a client's line breaks twenty times", _reconnect, lasts=True),
    Fault("fast", "a client sends at twenty times real time", _hurry),
    Fault("slow", "a client sends at half of real time", _dawdle),
    Fault("disk", "the disk of uploaded sound is full", _fill_disk, lasts=True, quick=True, uploads=True),
    Fault("clock", "the clock jumps a minute ahead, then two back", _jump, lasts=True),
)
