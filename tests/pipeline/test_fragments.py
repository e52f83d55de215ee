from __future__ import annotations

from pipeline.fragments import LONGEST, Fragment, unread
from pipeline.timeline import Turn


def turn(number: int, start: float, end: float) -> Turn:
    return Turn(id=number, speaker=1, start=start, end=end)


def test_a_turn_that_goes_on_is_read_a_hop_at_a_time() -> None:
    assert unread([turn(0, 1.0, 1.4)], read_until=0, over=False) == []
    assert unread([turn(0, 1.0, 1.5)], read_until=0, over=False) == [Fragment(0, 1.0, 1.5, 1.0)]
    assert unread([turn(0, 1.0, 1.9)], read_until=1.5, over=False) == []


def test_a_turn_that_ended_is_read_to_its_end() -> None:
    assert unread([turn(0, 1.0, 1.9)], read_until=1.5, over=True) == [Fragment(0, 1.5, 1.9, 1.0)]
    both = unread([turn(0, 1.0, 1.9), turn(4, 2.5, 3.0)], read_until=1.5, over=False)
    assert both == [Fragment(0, 1.5, 1.9, 1.0), Fragment(4, 2.5, 3.0, 2.5)]


def test_what_is_too_short_to_tell_is_not_read() -> None:
    assert unread([turn(0, 1.0, 1.3)], read_until=0, over=True) == []


def test_no_more_is_heard_than_the_model_takes() -> None:
    (fragment,) = unread([turn(0, 0.0, 10.0)], read_until=9.5, over=False)
    assert fragment.heard_from == 10 - LONGEST


def test_what_is_longer_than_a_fragment_is_read_in_several_and_all_of_it_is_heard() -> None:
    fragments = unread([turn(7, 1.0, 5.75)], read_until=1.25, over=False)
    assert [(one.start, one.end) for one in fragments] == [(1.25, 3.25), (3.25, 5.25), (5.25, 5.75)]
    assert all(1.0 <= one.heard_from <= one.start for one in fragments)
    assert all(one.end - one.heard_from <= LONGEST for one in fragments)
