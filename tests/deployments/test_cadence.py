"""Hops that are heard together where a machine is full: when, what comes of it, and that a replay hears the same."""

from __future__ import annotations

import asyncio
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import pytest

from deployments import cadence, lag
from deployments.cadence import CALM, FEW, MOST_CALM, SAMPLE, SAMPLES, SETTLING, Cadence, Pace
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

TOO_MUCH = 0.5  # s
MOST = 0.8
TALKING = 10


class Clock:
    """Both clocks, moved by the test."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


class Processors:
    """How much of them is used, in percent, as the test says."""

    def __init__(self) -> None:
        self.used, self.gives_way = 20.0, 0.0

    def cpu_times_percent(self) -> SimpleNamespace:
        idle = 100 - self.used - self.gives_way
        return SimpleNamespace(user=self.used - 5, system=4.0, irq=0.0, softirq=1.0, nice=self.gives_way, idle=idle)


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Processors:
    processors = Processors()
    monkeypatch.setattr(cadence, "CGROUP", tmp_path)
    monkeypatch.setattr(cadence, "psutil", processors)
    return processors


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cadence, "time", clock)
    monkeypatch.setattr(lag, "time", clock)
    return clock


def after(clock: Clock, told: Cadence, late: float, seconds: float) -> tuple[int, bool]:
    """The pace, once ten people who talk have been heard so late for so long."""
    until = clock.now + seconds
    while clock.now < until:
        together = told.pace(TALKING).hops
        step = min(together * HOP_SECONDS, until - clock.now)
        clock.now += step
        for _ in range(10):
            told.note(clock.now - late, together if step > HOP_SECONDS else 1)
    return told.pace(TALKING).hops, told.pace(TALKING).full


def test_more_is_heard_together_while_hearing_is_late_and_then_nobody_is_let_in(clock: Clock) -> None:
    told = Cadence(TOO_MUCH, MOST)
    assert after(clock, told, 0.4, 60) == (1, False)
    assert after(clock, told, 0.6, LATELY) == (2, True)
    assert after(clock, told, 0.1, LATELY) == (2, True), "what is saved is kept for those who are here"
    assert after(clock, told, 0.6, LATELY) == (3, True)
    assert after(clock, told, 9.0, 20) == (3, True), "and no more together than that"


def test_a_change_is_given_time_to_be_seen(clock: Clock) -> None:
    told = Cadence(TOO_MUCH, MOST)
    assert after(clock, told, 0.6, HOP_SECONDS) == (2, True)
    assert after(clock, told, 0.6, SETTLING - 1) == (2, True)
    assert after(clock, told, 0.6, 1.5) == (3, True)


def test_once_there_is_room_for_long_all_is_as_before(clock: Clock, processors: Processors) -> None:
    told = Cadence(TOO_MUCH, MOST)
    processors.used = 70.0
    after(clock, told, 0.6, 2 * SETTLING)
    assert after(clock, told, 0.1, CALM) == (3, True)
    assert after(clock, told, 0.1, LATELY) == (2, True)
    assert after(clock, told, 0.1, CALM) == (1, False)


def test_where_the_machine_has_spare_processors_fewer_are_heard_together_however_long_they_take(
    clock: Clock, processors: Processors
) -> None:
    """What is heard together is never heard at once: it used to stay so on a machine that was half idle."""
    told = Cadence(TOO_MUCH, MOST)
    processors.used = 90.0
    after(clock, told, 0.6, 2 * SETTLING)
    assert after(clock, told, 0.4, 2 * CALM) == (3, True)
    processors.used = 50.0
    assert after(clock, told, 0.4, CALM + LATELY)[0] == 2
    assert after(clock, told, 0.4, CALM + LATELY)[0] == 1


def takes(clock: Clock, told: Cadence, late: float, hops: int) -> float:
    """The seconds for which people are heard so late until so many hops are heard together."""
    began = clock.now
    while told.pace(TALKING).hops != hops:
        assert clock.now < began + 2 * MOST_CALM
        after(clock, told, late, HOP_SECONDS)
    return clock.now - began


def test_once_most_have_left_others_may_come_soon(clock: Clock, processors: Processors) -> None:
    told = Cadence(TOO_MUCH, MOST)
    processors.used = 70.0
    for _ in range(2):  # what was tried too soon would be tried again after a minute
        takes(clock, told, 0.6, 3)
        takes(clock, told, 0.4, 2)
    processors.used = 10.0
    assert takes(clock, told, 0.1, 1) <= SETTLING + LATELY
    assert not told.pace(2).full


def test_what_was_tried_too_soon_is_tried_again_after_twice_as_long(clock: Clock, processors: Processors) -> None:
    told = Cadence(TOO_MUCH, MOST)
    processors.used = 70.0
    takes(clock, told, 0.6, 2)
    for calm in (CALM, 2 * CALM, 4 * CALM, MOST_CALM, MOST_CALM):
        assert takes(clock, told, 0.4, 1) == pytest.approx(calm, abs=LATELY)
        assert takes(clock, told, 0.6, 2) < SETTLING + 1
    takes(clock, told, 0.4, 1)
    assert after(clock, told, 0.4, 3 * CALM)[0] == 1, "now there is room"
    takes(clock, told, 0.6, 2)
    assert takes(clock, told, 0.4, 1) == pytest.approx(CALM, abs=LATELY)


def test_a_container_has_the_processors_that_it_may_use(clock: Clock, tmp_path: Path) -> None:
    def used(seconds: float, gives_way: float | None = None) -> None:
        told = f"usage_usec {seconds * 1e6:.0f}\nuser_usec 1\n"
        (tmp_path / "cpu.stat").write_text(told if gives_way is None else f"{told}nice_usec {gives_way * 1e6:.0f}\n")

    told = cadence.Processors(MOST)
    assert told.busy == 0.2, "the machine's, where nothing limits it"
    (tmp_path / "cpu.max").write_text("max 100000\n")
    clock.now += SAMPLE
    assert told.busy == 0.2
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    told = cadence.Processors(MOST)
    used(700)
    assert told.busy == 0.0, "not known yet"
    used(708)
    clock.now += SAMPLE / 2
    assert told.busy == 0.0
    clock.now += SAMPLE
    assert told.busy == pytest.approx(8 / (1.5 * SAMPLE * 4))
    assert told.room(10) == inf, "recordings may be all of it"
    used(712, gives_way=2)
    clock.now += SAMPLE
    told.busy  # noqa: B018
    used(720, gives_way=6)
    clock.now += SAMPLE
    assert told.busy == pytest.approx((8 - 4) / (SAMPLE * 4))
    assert told.room(10) == pytest.approx(10 * (MOST / 0.5 - 1))
    used(720, gives_way=7)
    clock.now += SAMPLE
    assert told.busy == 0.0, "the two counts need not be of the same moment"
    assert told.room(10) == inf


def test_where_nobody_talks_any_more_there_is_room(clock: Clock) -> None:
    told = Cadence(TOO_MUCH, MOST)
    assert after(clock, told, 0.6, 2 * SETTLING) == (3, True)
    clock.now += LATELY + 1
    assert told.pace(TALKING) == Pace(talking=TALKING)
    assert after(clock, told, 0.1, HOP_SECONDS) == (1, False)


def test_whoever_talks_alone_and_is_late_once_does_not_count(clock: Clock) -> None:
    told = Cadence(TOO_MUCH, MOST)
    told.note(clock.now - 3, 1)
    assert told.pace(1) == Pace(talking=1)


def test_newcomers_come_in_a_few_at_a_time_where_hearing_was_late(clock: Clock) -> None:
    told = Cadence(TOO_MUCH, MOST)
    after(clock, told, 0.1, LATELY)
    assert not told.pace(TALKING).nearly_full
    after(clock, told, 0.4, LATELY)
    assert told.pace(FEW) == Pace(1, full=False, nearly_full=True, talking=FEW)
    after(clock, told, 0.1, CALM)
    assert told.pace(TALKING).nearly_full
    after(clock, told, 0.1, LATELY)
    assert not told.pace(TALKING).nearly_full


def test_processors_tell_for_how_many_there_is_room_though_nobody_is_late(clock: Clock, processors: Processors) -> None:
    told = Cadence(TOO_MUCH, MOST)
    for used, room in ((40.0, TALKING), (64.0, TALKING / 4), (78.0, TALKING / 39), (90.0, -TALKING / 9)):
        processors.used = used
        after(clock, told, 0.1, 2 * SAMPLE)
        assert told.pace(TALKING).room == pytest.approx(room), "each takes as much as those who are there"
        processors.used = used - 5
        after(clock, told, 0.1, SAMPLE * (SAMPLES - 2))
        assert told.pace(TALKING).room == pytest.approx(room), "at its busier moments"
        assert told.pace(TALKING).full == (room < 1)
    processors.used = 40.0
    after(clock, told, 0.1, 2 * SAMPLE * SAMPLES)
    assert told.pace(TALKING).room == pytest.approx(TALKING)
    assert told.pace(TALKING + 7).room == pytest.approx(TALKING - 7), (
        "what seven take who have just come is not seen yet"
    )
    processors.used = 90.0
    after(clock, told, 0.1, LATELY)
    assert told.pace(FEW) == Pace(talking=FEW), "a few must not wait until a machine has nothing else to do"
    clock.now += 60
    processors.used = 40.0
    assert after(clock, told, 0.1, SAMPLE) == (1, False), "of a minute ago nothing is known any more"
    processors.used = 90.0
    all_of_them = Cadence(TOO_MUCH, 1.0)
    after(clock, all_of_them, 0.1, LATELY)
    assert all_of_them.pace(TALKING) == Pace(talking=TALKING), "where an operator says so"
    processors.used, processors.gives_way = 40.0, 60.0
    after(clock, told, 0.1, 2 * SAMPLE * SAMPLES)
    assert told.pace(TALKING).room == pytest.approx(TALKING), "recordings give way to those who talk"


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
