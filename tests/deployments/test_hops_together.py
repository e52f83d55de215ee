"""Hops that are heard together where a machine is full: what comes of it, and that a replay hears the same."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httpx
import numpy as np
import pytest

from deployments.cadence import SETTLING, Pace
from deployments.client import open_session
from deployments.context import Context
from deployments.lag import LATELY
from deployments.recording import open_recording
from deployments.settings import Settings
from pipeline.events import EmotionRead, Event, HopHeard
from pipeline.session import Codec, Frame, SessionRequest
from pipeline.store import SessionStore
from pipeline.timeline import HOP_SECONDS, SAMPLE_RATE, Timeline
from tests.deployments.actors import Actors, begin, folded, of
from tests.service import record, running_service


def heard_until(events: list[Event]) -> np.ndarray:
    return np.array([event.heard_until for event in of(events, HopHeard)])


async def test_fewer_steps_tell_of_the_same_sound(store: SessionStore, actors: Actors, small_conversation: Any) -> None:
    async def run(hops: int) -> tuple[Timeline, list[Event]]:
        actor, talk = await actors.start(), await begin(store, small_conversation[0])
        talk.cadence = hops
        await talk.say(21, actor)
        await talk.stop(actor)
        told = await talk.told()
        return folded(told), told

    usual, told = await run(1)
    for hops in (2, 3):
        timeline, fewer = await run(hops)
        steps = np.diff(heard_until(fewer)[:-1])
        assert set(steps.tolist()) == {hops * HOP_SECONDS}
        assert timeline.heard_until == usual.heard_until
        assert spoken(timeline) == pytest.approx(spoken(usual), abs=0.5), "no speech goes unheard"
        assert read(timeline) == pytest.approx(read(usual), rel=0.1), "nor does any go unread"
        assert len(of(fewer, EmotionRead)) < 0.8 * len(of(told, EmotionRead))


def spoken(timeline: Timeline) -> float:
    return sum(turn.duration for turn in timeline.turns.values())


def read(timeline: Timeline) -> float:
    return sum(reading.duration for reading in timeline.readings)


@pytest.mark.parametrize("at", [6.5, 9.0, 13.0])
async def test_a_replay_hears_together_what_was_heard_together(
    store: SessionStore, actors: Actors, small_conversation: Any, at: float
) -> None:
    async def run(killed: bool) -> list[Event]:
        actor, talk = await actors.start(), await begin(store, small_conversation[0])
        for hops, until in ((1, 4.5), (2, at), (3, at + 3), (2, at + 5), (1, 20)):
            talk.cadence = hops
            await talk.say(until, actor, wait=False)
            if killed:
                actor = await actors.start()
        await talk.stop(actor)
        return await talk.told()

    undisturbed = await run(killed=False)
    steps = np.diff(heard_until(undisturbed)[:-1]) / HOP_SECONDS
    assert set(steps.tolist()) >= {1.0, 2.0, 3.0}
    assert await run(killed=True) == undisturbed


async def test_what_is_heard_again_was_in_time(store: SessionStore, actors: Actors, small_conversation: Any) -> None:
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(4.5, actor)
    assert actor._cadence.pace(1).hops > 1, "its frames say that they arrived at the beginning of time"
    again = await actors.start()
    await talk.say(5, again)
    assert again._cadence.pace(0) == Pace()


async def test_an_actor_says_how_many_talk(store: SessionStore, actors: Actors) -> None:
    actor = await actors.start()
    assert await actor.hear([]) == ([], Pace(talking=0))
    for talking in (1, 2):
        talk = await begin(store, np.zeros(SAMPLE_RATE, np.int16))
        await talk.say(0.5, actor)
        _, pace = await actor.hear([])
        assert pace.talking == talking


async def test_the_journal_knows_what_is_to_be_heard_together(store: SessionStore, actors: Actors) -> None:
    talk = await begin(store, np.zeros(2 * SAMPLE_RATE, np.int16))
    actor = await actors.start()
    await talk.say(1, actor)
    talk.cadence = 3
    await talk.say(2, actor, wait=False)
    assert [frame.cadence async for frame in store.frames(talk.id, Codec.PCM16)] == [1, 1, 1, 1, 3, 3, 3, 3]


@pytest.mark.slow
async def test_a_service_that_is_late_tells_less_often_lets_nobody_in_and_loses_nothing(
    small_conversation: Any,
) -> None:
    pcm = small_conversation[0]
    with running_service(max_lag=0.001) as service:  # nothing is heard that soon
        talking = asyncio.create_task(record(service.api, pcm, pace=1.0))
        await asyncio.sleep(SETTLING + 1.5 * LATELY)
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await open_session(service.api, "research")
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) > 0
        session, _, seconds = await talking
        told = [event async for _, event in session.events()]
        timeline = folded(told)
        assert timeline.heard_until == seconds == pytest.approx(len(pcm) / SAMPLE_RATE, abs=0.01)
        assert {1.0, 1.5} <= set(np.diff(heard_until(told)).tolist()), "two hops together, then three"
        assert len(timeline.speakers) == 2
        assert timeline.readings
        await asyncio.sleep(LATELY)
        await open_session(service.api, "research")  # nobody talks any more


class Ear:
    """Stands in for the session actors: it notes what it is told. `hops`: how many are to be heard together."""

    def __init__(self, hops: int) -> None:
        self.hops = hops
        self.told: list[Frame] = []

    def cadence(self, _: str) -> int:
        return self.hops

    def hear(self, _: str, frame: Frame) -> asyncio.Future[int]:
        self.told.append(frame)
        nothing_waits: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        nothing_waits.set_result(0)
        return nothing_waits


async def test_of_two_lines_of_one_recorder_only_what_is_in_the_journal_is_heard(url: str, store: SessionStore) -> None:
    session = (await store.create(SessionRequest(purpose="research", consent=True))).id
    unused: Any = None
    ears = [Ear(1), Ear(2)]
    contexts = [Context(Settings(redis_url=url), store, cast(Any, ear), unused, unused, unused) for ear in ears]
    lines = [await open_recording(context, session, Codec.PCM16, "the same") for context in contexts]
    for number, line in enumerate((lines[0], lines[1], lines[1])):
        assert await line.take(number // 2, bytes(SAMPLE_RATE), float(number)) == number // 2 + 1
    (first,), (again, second) = (ear.told for ear in ears)
    assert (first.cadence, first.arrived_at) == (again.cadence, again.arrived_at) == (1, 0.0)
    assert (second.number, second.cadence) == (1, 2)
