"""What must hold is found not to hold where it does not."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.chaos.holds import (
    TOLD_AFTER,
    arrived_wrong,
    hops_wrong,
    recovery_wrong,
    refused_wrong,
    silences,
    telling_wrong,
    timeline_wrong,
    turns_wrong,
)

WHOLE = [0.5, 1.0, 1.5, 1.8]
TURN = {"id": 1, "speaker": 1, "start": 0.2, "end": 1.4}
READING = {"turn": 1, "label": "calm", "start": 0.2, "end": 1.4, "probabilities": [0.6, 0.4]}
TIMELINE: dict[str, Any] = {"turns": [TURN], "readings": [READING], "heard_until": 1.8, "ended": True}
STARTED, SPOKEN, ENDED = {"type": "session.started"}, {"type": "turn.updated", "turn": TURN}, {"type": "session.ended"}


@pytest.mark.parametrize(
    ("heard", "wrong"),
    [
        (WHOLE, []),
        ([0.5, 1.5, 1.8], ["the hop at 1 s was lost"]),
        ([0.5, 1.0, 1.5], ["the hop at 1.8 s was lost"]),
        ([0.5, 1.0, 1.0, 1.5, 1.8], ["the hop at 1 s was published 2 times"]),
        ([0.5, 1.0, 1.2, 1.5, 1.8], ["the hop at 1.2 s is none that was said"]),
        ([0.5, 1.5, 1.0, 1.8], ["hops were published out of order"]),
    ],
)
def test_a_hop_is_published_once_and_in_its_place(heard: list[float], wrong: list[str]) -> None:
    assert hops_wrong(heard, 1.8) == wrong


def test_the_last_hop_ends_with_the_sound() -> None:
    assert hops_wrong([0.5, 1.0, 1.0], 1.0) == []
    assert hops_wrong([0.5, 1.0], 1.0) == ["the hop at 1 s was lost"]


@pytest.mark.parametrize(
    "change",
    [
        lambda timeline: timeline["turns"].append(dict(TURN, id=2)),
        lambda timeline: timeline["turns"][0].update(speaker=2),
        lambda timeline: timeline["turns"][0].update(end=2.0),
        lambda timeline: timeline["readings"][0].update(label="sad"),
        lambda timeline: timeline["readings"][0].update(probabilities=[0.58, 0.42]),
        lambda timeline: timeline["readings"][0].update(end=2.0),
        lambda timeline: timeline["readings"].clear(),
        lambda timeline: timeline.update(heard_until=1.5),
        lambda timeline: timeline.update(ended=False),
    ],
)
def test_a_timeline_is_that_of_an_undisturbed_run(change: Any) -> None:
    timeline = deepcopy(TIMELINE)
    assert timeline_wrong(timeline, TIMELINE) == []
    change(timeline)
    assert len(timeline_wrong(timeline, TIMELINE)) == 1


@pytest.mark.parametrize(
    ("until", "told_at", "wrong"),
    [
        (TOLD_AFTER, [], 0),
        (TOLD_AFTER + 1, [], 1),
        (TOLD_AFTER + 1, [3.0], 0),
        (TOLD_AFTER + 1, [-0.5], 0),  # the line broke while what was heard last was under way
        (TOLD_AFTER + 1, [-5.0], 1),  # that was about something else
        (TOLD_AFTER + 1, [TOLD_AFTER + 0.5], 1),  # too late
    ],
)
def test_whoever_waits_for_long_is_told_while_they_wait(until: float, told_at: list[float], wrong: int) -> None:
    assert len(telling_wrong([(-20.0, -19.0), (0.0, until)], told_at)) == wrong


def test_each_silence_is_told_of() -> None:
    assert telling_wrong([(0.0, 7.0), (20.0, 27.5)], [1.0]) == ["nobody was told within 6 s of 7.5 s of silence"]


@pytest.mark.parametrize(
    ("heard_at", "silent"),
    [
        ([8.0, 9.5, 10.0, 17.0, 17.5], [(10.0, 17.0), (17.0, 17.5)]),
        ([9.5, 16.5], [(10.0, 16.5)]),  # from the moment on, not from what was heard before it
        ([9.5], []),
    ],
)
def test_silence_during_a_fault_is_silence(heard_at: list[float], silent: list[tuple[float, float]]) -> None:
    assert silences(10.0, heard_at) == silent


def test_only_a_status_that_says_come_again_tells_anybody_anything() -> None:
    assert refused_wrong("uploads", [503, 429, 507, 503]) == []
    assert refused_wrong("uploads", [503, 500, 500]) == [
        "uploads: refused 2 times with status 500, which tells nobody when to come again"
    ]


def test_what_never_comes_back_is_wrong() -> None:
    assert recovery_wrong(89.0, 3.0, 90.0) == []
    assert recovery_wrong(None, 3.0, 90.0) == ["not everything was back after 90 s"]
    assert recovery_wrong(0.5, None, 90.0) == ["no upload got further in 90 s"]


@pytest.mark.parametrize(("arrived", "right"), [(4.5, True), (5.0, True), (5.5, True), (4.0, False), (6.0, False)])
def test_what_was_acknowledged_of_a_client_that_went_has_arrived(arrived: float, right: bool) -> None:
    assert (arrived_wrong(arrived, acknowledged=4.5, sent=5.5) == []) is right


@pytest.mark.parametrize(
    ("events", "wrong"),
    [
        ([STARTED, SPOKEN, ENDED], []),
        ([STARTED, SPOKEN, SPOKEN, ENDED], ["its turns were not told once each"]),
        ([STARTED, ENDED], ["its turns were not told once each"]),
        ([STARTED, SPOKEN, ENDED, ENDED], ["session.ended was told 2 times"]),
    ],
)
def test_a_recording_is_told_once(events: list[dict[str, Any]], wrong: list[str]) -> None:
    assert turns_wrong(events, TIMELINE) == wrong
