from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from pyannote.core import Annotation, Segment

from training.diarisation_scoring import FIGURES, Score, figures_of, score, swaps


def speech(*stretches: tuple[float, float, str]) -> Annotation:
    told = Annotation()
    for number, (start, end, speaker) in enumerate(stretches):
        told[Segment(start, end), number] = speaker
    return told


REFERENCE = speech((1, 5, "ann"), (6, 10, "ben"))


def parts(one: Score) -> tuple[float, float, float, float]:
    assert one.error == pytest.approx(one.missed + one.false_alarm + one.confusion)
    return tuple(round(part, 6) for part in (one.spoken, one.missed, one.false_alarm, one.confusion))


def test_an_answer_without_fault_costs_nothing_whatever_its_labels_are() -> None:
    one = score(REFERENCE, speech((1, 5, "2"), (6, 10, "1")), 12)
    assert parts(one) == (8, 0, 0, 0)
    assert (one.spoken_inside, one.error_inside, one.jaccard) == (7, 0, 0)
    assert (one.speakers, one.miscounted, one.too_many) == (2, 0, 0)


def test_half_a_turn_that_is_missed() -> None:
    one = score(REFERENCE, speech((1, 3, "1"), (6, 10, "2")), 12)
    assert parts(one) == (8, 2, 0, 0)
    assert one.jaccard == pytest.approx(0.5)


def test_speech_where_there_is_none() -> None:
    one = score(REFERENCE, speech((0, 5, "1"), (6, 12, "2")), 12)
    assert parts(one) == (8, 0, 3, 0)
    assert one.jaccard == pytest.approx(1 / 5 + 2 / 6)


def test_turns_that_are_one_speakers_are_the_others_where_they_share_less() -> None:
    """Ben's first second goes to Ann's label: it is confused, and no more than that."""
    one = score(REFERENCE, speech((1, 5, "1"), (6, 7, "1"), (7, 10, "2")), 12)
    assert parts(one) == (8, 0, 0, 1)


def test_one_label_for_two_speakers_and_two_labels_for_one() -> None:
    together = score(REFERENCE, speech((1, 5, "1"), (6, 10, "1")), 12)
    assert parts(together) == (8, 0, 0, 4)
    assert (together.miscounted, together.too_many) == (1, -1)
    apart = score(REFERENCE, speech((1, 4, "1"), (4, 5, "3"), (6, 10, "2")), 12)
    assert parts(apart) == (8, 0, 0, 1)
    assert (apart.miscounted, apart.too_many) == (1, 1)


def test_who_speaks_at_once_is_counted_twice() -> None:
    reference = speech((0, 4, "ann"), (2, 6, "ben"))
    assert parts(score(reference, speech((0, 4, "1"), (2, 6, "2")), 6)) == (8, 0, 0, 0)
    assert parts(score(reference, speech((0, 4, "1"), (4, 6, "2")), 6)) == (8, 2, 0, 0)


def test_a_speakers_own_stretches_that_overlap_are_counted_once() -> None:
    assert parts(score(speech((0, 4, "ann"), (2, 6, "ann")), speech((0, 6, "1")), 6)) == (6, 0, 0, 0)


@pytest.mark.parametrize(("late", "forgiven"), [(0.2, True), (0.25, True), (0.35, False)])
def test_a_quarter_of_a_second_on_each_side_is_forgiven_by_the_collar_alone(late: float, forgiven: bool) -> None:
    one = score(REFERENCE, speech((1 + late, 5 + late, "1"), (6, 10, "2")), 12)
    assert parts(one) == (8, late, late, 0)
    assert one.error_inside == pytest.approx(0 if forgiven else 2 * (late - 0.25))


def test_nothing_is_said_or_nothing_is_heard() -> None:
    silent = score(Annotation(), speech((1, 3, "1")), 12)
    assert (parts(silent), silent.speakers, silent.jaccard, silent.too_many) == ((0, 0, 2, 0), 0, 0, 1)
    deaf = score(REFERENCE, Annotation(), 12)
    assert (parts(deaf), deaf.jaccard, deaf.too_many) == ((8, 8, 0, 0), 2, -2)
    assert parts(score(Annotation(), Annotation(), 0)) == (0, 0, 0, 0)


def test_what_is_said_after_the_sound_ended_is_missed() -> None:
    assert parts(score(speech((0, 10, "ann")), speech((0, 8, "1")), 8)) == (10, 2, 0, 0)


def test_a_label_that_changes_across_chunks_is_a_swap() -> None:
    reference = speech((20, 29, "ann"), (31, 40, "ann"), (41, 50, "ben"), (65, 70, "ann"), (71, 75, "ben"))
    kept = speech((20, 29, "1"), (31, 40, "1"), (41, 50, "2"), (65, 70, "1"), (71, 75, "2"))
    assert swaps(reference, kept, 80) == (3, 0)
    swapped = speech((20, 29, "1"), (31, 40, "1"), (41, 50, "2"), (65, 70, "2"), (71, 75, "1"))
    assert swaps(reference, swapped, 80) == (3, 2)
    one = score(reference, swapped, 80)
    assert (one.chunk_pairs, one.swapped) == (3, 2)


def test_the_label_with_most_of_a_chunks_speech_is_the_one_that_counts() -> None:
    reference = speech((10, 50, "ann"))
    assert swaps(reference, speech((10, 22, "1"), (22, 30, "2"), (30, 31, "2"), (31, 50, "1")), 50) == (1, 0)
    assert swaps(reference, speech((10, 18, "1"), (18, 30, "2"), (30, 50, "1")), 50) == (1, 1)


def test_who_pauses_for_a_chunk_or_is_not_heard_in_one_is_not_met_twice() -> None:
    assert swaps(speech((10, 20, "ann"), (70, 80, "ann")), speech((10, 20, "1"), (70, 80, "2")), 90) == (0, 0)
    assert swaps(speech((10, 50, "ann")), speech((10, 20, "1")), 50) == (0, 0)
    assert swaps(REFERENCE, REFERENCE, 12) == (0, 0)


@pytest.fixture(scope="module")
def perfect() -> Score:
    return score(REFERENCE, REFERENCE, 12)


def test_a_long_conversation_counts_for_more_than_a_short_one(perfect: Score) -> None:
    half_missed = replace(perfect, spoken=100.0, missed=50.0, error=50.0)
    figures = figures_of([perfect, half_missed], seed=1)
    assert figures["DER"].value == pytest.approx(50 / 108)
    assert figures["missed"].value == pytest.approx(50 / 108)
    assert figures["confusion"].value == 0
    assert (figures["DER"].low, figures["DER"].high) == (0, 0.5)


def test_too_many_and_too_few_speakers_cancel_only_where_that_is_asked_for(perfect: Score) -> None:
    figures = figures_of([replace(perfect, miscounted=1, too_many=by) for by in (1, -1)], seed=1)
    assert figures["speakers, off by"].value == 1
    assert figures["speakers, too many"].value == 0


def test_the_interval_holds_the_figure_and_narrows_with_more_conversations(perfect: Score) -> None:
    errors = np.random.default_rng(0).uniform(0, 4, 64)
    scores = [replace(perfect, confusion=error, error=error) for error in errors.tolist()]
    few, many = figures_of(scores[:8], seed=1)["DER"], figures_of(scores, seed=1)["DER"]
    assert many.value == pytest.approx(errors.sum() / (64 * 8))
    for rate in (few, many):
        assert rate.low < rate.value < rate.high
    assert many.high - many.low < few.high - few.low


def test_the_same_seed_gives_the_same_interval(perfect: Score) -> None:
    scores = [replace(perfect, error=error) for error in (0.5, 1, 2)]
    assert figures_of(scores, seed=1)["DER"] == figures_of(scores, seed=1)["DER"]


def test_a_figure_of_nothing_is_none(perfect: Score) -> None:
    figures = figures_of([perfect, perfect], seed=1)
    assert list(figures) == list(FIGURES)
    assert math.isnan(figures["labels swapped"].value)
    assert figures["DER"].value == figures["DER"].low == figures["DER"].high == 0


def test_one_conversation_has_no_interval(perfect: Score) -> None:
    alone = figures_of([perfect], seed=1)["DER"]
    assert alone.value == 0
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
