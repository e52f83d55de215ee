"""What is told of turns that have changed."""

from __future__ import annotations

from pipeline.events import TurnRevised, TurnUpdated
from pipeline.revising import revisions
from pipeline.timeline import Turn

FIRST = Turn(id=0, speaker=1, start=0, end=4)


def told(*turns: Turn) -> list[TurnRevised | TurnUpdated]:
    return list(revisions({0: FIRST}, turns))


def test_what_is_as_it_was_is_not_told_again() -> None:
    assert told(FIRST) == []


def test_growth_is_told_turn_by_turn() -> None:
    grown, later = FIRST.model_copy(update={"end": 5.0}), Turn(id=9, speaker=1, start=6, end=7)
    assert told(grown, later) == [TurnUpdated(turn=grown), TurnUpdated(turn=later)]


def test_another_speaker_and_a_turn_that_is_gone_are_corrections() -> None:
    other = FIRST.model_copy(update={"speaker": 2})
    assert told(other) == [TurnRevised(turns=(other,))]
    assert told() == [TurnRevised(removed=(0,), turns=())]


def test_what_takes_the_place_of_a_corrected_turn_comes_with_the_correction() -> None:
    """Were it told apart, the readings of the old turn would be lost in between."""
    shrunk, new = Turn(id=0, speaker=1, start=0, end=2), Turn(id=5, speaker=2, start=2, end=4)
    later = Turn(id=9, speaker=1, start=5, end=6)
    assert told(shrunk, new, later) == [TurnRevised(turns=(shrunk, new)), TurnUpdated(turn=later)]
