from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.timeline import EMOTIONS, UNSURE, EmotionReading, Timeline, Turn
from training.scoring import LOSSES, Island, Shown, Tally, instant, islands_of, overlapping, tally, told_turns, view_of
from training.simulate import SpokenTurn

CALM, SAD = EMOTIONS.index("calm"), EMOTIONS.index("sad")


def spoken(speaker: str, start: float, end: float, emotion: str | None) -> SpokenTurn:
    return SpokenTurn(speaker, start, end, emotion, ((start, end),), "")


def turn(number: int, speaker: int, start: float, end: float) -> Turn:
    return Turn(id=number, speaker=speaker, start=start, end=end)


def said(of: int, start: float, end: float, label: str) -> EmotionReading:
    sure = tuple(float(emotion == label) for emotion in EMOTIONS)
    return EmotionReading(
        turn=of, start=start, end=end, probabilities=sure, label=label, valence=0, arousal=0, heard=1, model="test"
    )


REFERENCE = (
    spoken("ann", 0, 4, "angry"),
    spoken("ben", 4, 8, "calm"),
    spoken("ann", 8, 10, "sad"),
)


def timeline(turns: Sequence[Turn], readings: Sequence[EmotionReading]) -> Timeline:
    return Timeline(turns={one.id: one for one in turns}, readings=list(readings), heard_until=10, ended=True)


def tally_of(page: Timeline, told: Sequence[EmotionReading] = ()) -> Tally:
    return tally(islands_of(REFERENCE), Shown.of(page, 10), told)


def test_an_answer_without_fault_is_all_right_whatever_its_numbers_are() -> None:
    page = timeline(
        [turn(0, 7, 0, 4), turn(1, 2, 4, 8), turn(2, 7, 8, 10)],
        [said(0, 0, 4, "angry"), said(1, 4, 8, "calm"), said(2, 8, 10, "sad")],
    )
    told = [said(0, 0, 4, "angry"), said(1, 4, 8, "calm"), said(2, 8, 10, "sad")]
    everything = tally_of(page, told)
    assert everything.spoken == everything.right == everything.right_speaker == everything.right_emotion == 1000
    assert everything.asserted == everything.told_right == 1000
    assert {getattr(everything, part) for part in LOSSES.values()} == {0}


def test_every_loss_is_told_from_the_others() -> None:
    """Ben is taken for Ann for 1 s, is not heard for 1 s, and Ann's last 2 s are half unsure and half wrong."""
    page = timeline(
        [turn(0, 1, 0, 5), turn(1, 2, 6, 8), turn(2, 1, 8, 10)],
        [
            said(0, 0, 3.5, "angry"),
            said(0, 4, 5, "calm"),
            said(1, 6, 8, "calm"),
            said(2, 8, 9, UNSURE),
            said(2, 9, 10, "fear"),
        ],
    )
    told = [said(0, 0, 4, "angry"), said(1, 4, 7, "calm"), said(1, 7, 8, "sad"), said(2, 8, 10, UNSURE)]
    assert tally_of(page, told) == Tally(
        spoken=1000,
        missed=100,
        wrong_speaker=100,
        no_reading=50,
        unsure=100,
        wrong_emotion=100,
        right=550,
        right_speaker=800,
        right_emotion=650,  # calm is calm, whoever is said to be
        answered_unsure=100,
        asserted=750,
        told_right=700,
        told_unsure=200,
    )


def test_numbers_stand_for_the_speakers_with_whom_they_share_the_most_time() -> None:
    """Both numbers fall on Ann most of the time, but only one can be she."""
    page = timeline([turn(0, 1, 0, 4), turn(1, 2, 4, 5), turn(2, 2, 8, 10)], [])
    assert tally_of(page).right_speaker == 500
    assert tally_of(page).wrong_speaker == 200
    assert tally_of(page).missed == 300


def test_a_speaker_too_many_is_nobody() -> None:
    page = timeline([turn(0, 1, 0, 4), turn(1, 2, 4, 8), turn(2, 3, 8, 10)], [])
    assert tally_of(page).right_speaker == 800
    assert tally_of(page).wrong_speaker == 200


def test_where_two_speak_at_once_each_of_them_counts() -> None:
    islands = islands_of([spoken("ann", 0, 2, "sad"), spoken("ben", 1, 4, "calm")])
    page = timeline([turn(0, 1, 0, 2), turn(1, 2, 2, 4)], [said(0, 0, 2, "sad"), said(1, 2, 4, "calm")])
    counts = tally(islands, Shown.of(page, 4), [said(0, 0, 2, "sad"), said(1, 1, 4, "calm")])
    assert (counts.spoken, counts.right, counts.wrong_speaker, counts.told_right) == (500, 400, 100, 500)


def test_an_empty_page_has_missed_everything() -> None:
    counts = tally_of(Timeline())
    assert counts.missed == counts.spoken == 1000
    assert counts.right_speaker == counts.asserted == counts.told_right == 0


def test_shares_come_with_an_interval_and_name_the_largest_loss() -> None:
    nothing = dict.fromkeys(Tally.__dataclass_fields__, 0)
    good = Tally(**nothing | {"spoken": 100, "right": 90, "unsure": 10, "asserted": 90, "right_emotion": 90})
    bad = Tally(**nothing | {"spoken": 300, "right": 60, "wrong_speaker": 240, "asserted": 60, "right_emotion": 30})
    view = view_of([good, bad], seed=1)
    both = view.measures["both right"]
    assert both.value == pytest.approx(150 / 400), "an instant counts as much as any other"
    assert (both.low, both.high) == pytest.approx((0.2, 0.9))
    assert view.measures["right emotion, of what was asserted"].value == pytest.approx(120 / 150)
    assert view.largest_loss == "wrong speaker"
    assert sum(loss.value for loss in view.losses.values()) + both.value == pytest.approx(1)
    assert view == view_of([good, bad], seed=1)


def test_nothing_asserted_is_no_share() -> None:
    nothing = dict.fromkeys(Tally.__dataclass_fields__, 0)
    view = view_of([Tally(**nothing | {"spoken": 100, "missed": 100})], seed=1)
    assert np.isnan(view.measures["right emotion, of what was asserted"].value)


def test_speech_whose_emotion_is_unknown_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        islands_of([spoken("ann", 0, 1, None)])


def test_told_turns_are_the_islands_in_order_of_time() -> None:
    ben = replace(spoken("ben", 0, 5, "calm"), speech=((0.0, 1.0), (3.0, 5.0)))
    islands = islands_of([ben, spoken("ann", 1.5, 2.5, "sad")])
    assert islands == [Island("ben", CALM, 0, 100), Island("ann", SAD, 150, 250), Island("ben", CALM, 300, 500)]
    assert [(one.id, one.speaker, one.start, one.end) for one in told_turns(islands)] == [
        (0, 2, 0, 1),
        (1, 1, 1.5, 2.5),
        (2, 2, 3, 5),
    ]


def test_speech_over_speech_counts_for_each_speaker() -> None:
    islands = islands_of([spoken("ann", 0, 2, "sad"), spoken("ben", 1, 4, "calm"), spoken("cid", 1.5, 1.7, "sad")])
    assert overlapping(islands) == 50 * 2 + 20 * 3 + 30 * 2
    assert overlapping(islands[:1]) == overlapping([]) == 0


def test_a_page_is_written_where_it_may_be_and_nowhere_else() -> None:
    page = Shown.nothing(10)
    page.put(timeline([turn(0, 3, 0, 10)], [said(0, 2, 5, "sad")]), instant(1), instant(4))
    assert np.flatnonzero(page.speakers == 3).tolist() == list(range(100, 400))
    assert np.flatnonzero(page.emotions == SAD).tolist() == list(range(200, 400))
    assert (page.emotions == -1).sum() == 1001 - 200
