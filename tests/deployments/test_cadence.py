"""When a few hops are heard together, and for how many more there is room, on a clock and processors of our own."""

from __future__ import annotations

from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployments import cadence, lag, processors
from deployments.cadence import CALM, FEW, MOST_CALM, SETTLING, Cadence, Pace
from deployments.lag import LATELY
from deployments.processors import SAMPLE, SAMPLES, Processors
from pipeline.timeline import HOP_SECONDS

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


class Machine:
    """How much of its processors is used, in percent, as the test says."""

    def __init__(self) -> None:
        self.used, self.gives_way = 20.0, 0.0

    def cpu_times_percent(self) -> SimpleNamespace:
        idle = 100 - self.used - self.gives_way
        return SimpleNamespace(user=self.used - 5, system=4.0, irq=0.0, softirq=1.0, nice=self.gives_way, idle=idle)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    machine = Machine()
    monkeypatch.setattr(processors, "CGROUP", tmp_path)
    monkeypatch.setattr(processors, "psutil", machine)
    return machine


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cadence, "time", clock)
    monkeypatch.setattr(processors, "time", clock)
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


def test_once_there_is_room_for_long_all_is_as_before(clock: Clock, machine: Machine) -> None:
    told = Cadence(TOO_MUCH, MOST)
    machine.used = 70.0
    after(clock, told, 0.6, 2 * SETTLING)
    assert after(clock, told, 0.1, CALM) == (3, True)
    assert after(clock, told, 0.1, LATELY) == (2, True)
    assert after(clock, told, 0.1, CALM) == (1, False)


def test_where_the_machine_has_spare_processors_fewer_are_heard_together_however_long_they_take(
    clock: Clock, machine: Machine
) -> None:
    """What is heard together is never heard at once: it used to stay so on a machine that was half idle."""
    told = Cadence(TOO_MUCH, MOST)
    machine.used = 90.0
    after(clock, told, 0.6, 2 * SETTLING)
    assert after(clock, told, 0.4, 2 * CALM) == (3, True)
    machine.used = 50.0
    assert after(clock, told, 0.4, CALM + LATELY)[0] == 2
    assert after(clock, told, 0.4, CALM + LATELY)[0] == 1


def takes(clock: Clock, told: Cadence, late: float, hops: int) -> float:
    """The seconds for which people are heard so late until so many hops are heard together."""
    began = clock.now
    while told.pace(TALKING).hops != hops:
        assert clock.now < began + 2 * MOST_CALM
        after(clock, told, late, HOP_SECONDS)
    return clock.now - began


def test_once_most_have_left_others_may_come_soon(clock: Clock, machine: Machine) -> None:
    told = Cadence(TOO_MUCH, MOST)
    machine.used = 70.0
    for _ in range(2):  # what was tried too soon would be tried again after a minute
        takes(clock, told, 0.6, 3)
        takes(clock, told, 0.4, 2)
    machine.used = 10.0
    assert takes(clock, told, 0.1, 1) <= SETTLING + LATELY
    assert not told.pace(2).full


def test_what_was_tried_too_soon_is_tried_again_after_twice_as_long(clock: Clock, machine: Machine) -> None:
    told = Cadence(TOO_MUCH, MOST)
    machine.used = 70.0
    takes(clock, told, 0.6, 2)
    for calm in (CALM, 2 * CALM, 4 * CALM, MOST_CALM, MOST_CALM):
        assert takes(clock, told, 0.4, 1) == pytest.approx(calm, abs=LATELY)
        assert takes(clock, told, 0.6, 2) < SETTLING + 1
    takes(clock, told, 0.4, 1)
    assert after(clock, told, 0.4, 3 * CALM)[0] == 1, "now there is room"
    takes(clock, told, 0.6, 2)
    assert takes(clock, told, 0.4, 1) == pytest.approx(CALM, abs=LATELY)


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


def test_processors_tell_for_how_many_there_is_room_though_nobody_is_late(clock: Clock, machine: Machine) -> None:
    told = Cadence(TOO_MUCH, MOST)
    for used, room in ((40.0, TALKING), (64.0, TALKING / 4), (78.0, TALKING / 39), (90.0, -TALKING / 9)):
        machine.used = used
        after(clock, told, 0.1, 2 * SAMPLE)
        assert told.pace(TALKING).room == pytest.approx(room), "each takes as much as those who are there"
        machine.used = used - 5
        after(clock, told, 0.1, SAMPLE * (SAMPLES - 2))
        assert told.pace(TALKING).room == pytest.approx(room), "at its busier moments"
        assert told.pace(TALKING).full == (room < 1)
    machine.used = 40.0
    after(clock, told, 0.1, 2 * SAMPLE * SAMPLES)
    assert told.pace(TALKING).room == pytest.approx(TALKING)
    assert told.pace(TALKING + 7).room == pytest.approx(TALKING - 7), (
        "what seven take who have just come is not seen yet"
    )
    machine.used = 90.0
    after(clock, told, 0.1, LATELY)
    assert told.pace(FEW) == Pace(talking=FEW), "a few must not wait until a machine has nothing else to do"
    clock.now += 60
    machine.used = 40.0
    assert after(clock, told, 0.1, SAMPLE) == (1, False), "of a minute ago nothing is known any more"
    machine.used = 90.0
    all_of_them = Cadence(TOO_MUCH, 1.0)
    after(clock, all_of_them, 0.1, LATELY)
    assert all_of_them.pace(TALKING) == Pace(talking=TALKING), "where an operator says so"
    machine.used, machine.gives_way = 40.0, 60.0
    after(clock, told, 0.1, 2 * SAMPLE * SAMPLES)
    assert told.pace(TALKING).room == pytest.approx(TALKING), "recordings give way to those who talk"


def test_a_container_has_the_processors_that_it_may_use(clock: Clock, tmp_path: Path) -> None:
    def used(seconds: float, gives_way: float | None = None) -> None:
        told = f"usage_usec {seconds * 1e6:.0f}\nuser_usec 1\n"
        (tmp_path / "cpu.stat").write_text(told if gives_way is None else f"{told}nice_usec {gives_way * 1e6:.0f}\n")

    told = Processors(MOST)
    assert told.busy == 0.2, "the machine's, where nothing limits it"
    (tmp_path / "cpu.max").write_text("max 100000\n")
    clock.now += SAMPLE
    assert told.busy == 0.2
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    told = Processors(MOST)
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


def test_where_a_container_is_not_told_what_gives_way_a_few_come_at_a_time(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    told = Cadence(TOO_MUCH, MOST)
    for second in range(10):
        (tmp_path / "cpu.stat").write_text(f"usage_usec {1_900_000 * second}\n")
        after(clock, told, 0.1, 1.0)
    assert told.pace(TALKING) == Pace(nearly_full=True, talking=TALKING)
    assert told.pace(FEW) == Pace(talking=FEW)


def test_elsewhere_than_on_linux_recordings_give_way_to_nobody_and_shut_no_door(
    clock: Clock, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    told = Cadence(TOO_MUCH, MOST)
    machine.used = 99.0
    after(clock, told, 0.1, LATELY)
    assert told.pace(TALKING) == Pace(nearly_full=True, talking=TALKING)
