"""Whoever is heard, or watches, is told when hearing halts and when it goes on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest

from deployments import halts
from deployments.client import Recorder, open_session
from deployments.protocol import Close
from deployments.routes.audio import STORE_SECONDS
from pipeline.diarisation import Observation, Stretch
from pipeline.diarisation.local import LocalDiariser
from pipeline.store import SessionStore
from tests.deployments.actors import Actors, Talk, begin
from tests.service import Service, frames


async def warnings(store: SessionStore, talk: Talk) -> list[str]:
    return [event.code for _, event in await store.events(talk.id) if event.type == "warning"]


async def test_who_is_heard_at_once_is_told_nothing(
    store: SessionStore, actors: Actors, small_conversation: Any
) -> None:
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(8, actor)
    await talk.stop(actor)
    assert await warnings(store, talk) == []


@pytest.mark.parametrize("at", [2.0, 7.0], ids=["before a snapshot", "after one"])
async def test_who_goes_on_in_another_actor_is_told_once(
    store: SessionStore, actors: Actors, small_conversation: Any, at: float
) -> None:
    """Before its first snapshot a conversation used to begin anew without a word, and without being counted."""
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(at, actor)
    actor = await actors.start()
    await talk.say(10, actor)
    await talk.stop(actor)
    assert await warnings(store, talk) == ["resumed"]
    assert await store.ended_at(talk.id) == 10


class Slow(LocalDiariser):
    """Takes its time until it is told that this is enough, as a model does that is being started anew."""

    def __init__(self) -> None:
        super().__init__()
        self.back = asyncio.Event()

    async def observe_late(self, stretches: Sequence[Stretch]) -> list[Observation]:
        await self.back.wait()
        return self.observe(stretches)


async def test_who_waits_for_a_model_is_told_so(
    store: SessionStore, actors: Actors, small_conversation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halts, "PATIENCE", 0.2)
    actor, talk, slow = await actors.start(), await begin(store, small_conversation[0]), Slow()
    monkeypatch.setattr(actor._observe, "_call", slow.observe_late)
    await talk.say(0.5, actor, wait=False)
    async with asyncio.timeout(10):
        while not (told := await warnings(store, talk)):
            await asyncio.sleep(0.02)
    slow.back.set()
    await talk.say(3, actor)
    assert told == await warnings(store, talk) == ["stuck"]


async def test_a_recorder_is_told_that_the_store_stands_still(service: Service, small_conversation: Any) -> None:
    """It used to wait in silence for as long as Redis held still."""
    session = await open_session(service.api, "research")
    recorder = Recorder(session)
    recording = asyncio.create_task(recorder.record(frames(small_conversation[0][: 16_000 * 6], pace=2)))
    (redis,) = (pid for pid, command in service.processes().items() if "redis-server" in command)
    await asyncio.sleep(1.5)
    os.kill(redis, signal.SIGSTOP)
    try:
        async with asyncio.timeout(STORE_SECONDS + 20):
            while not recorder.breaks:
                await asyncio.sleep(0.1)
    finally:
        os.kill(redis, signal.SIGCONT)
    assert recorder.breaks[0] == Close.TROUBLE
    assert await recording == pytest.approx(6, abs=0.01)
