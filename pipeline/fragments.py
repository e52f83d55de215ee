"""Fragments: the stretches of one speaker that the emotion model hears."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from math import inf
from operator import itemgetter
from typing import Final

from pipeline.timeline import HOP_SECONDS, Turn

# s. This is all the smoothing there is. On unknown actors two seconds are heard right as often as three (.53 of all
# hops), and after a change of mood within a turn far sooner: .31 of the hops that follow are right, with 3 s .18, with
# 1.5 s .39 but then .51 of all. Averaging readings over the turn on top loses both.
LONGEST: Final = 2.0
SHORTEST: Final = 0.5  # s; less tells next to nothing
MIXED_SHARE: Final = 0.5  # of a reading's span, from which on two who talk at once leave open whose tone it is
MIXED_SHARE_HEARD: Final = 1 / 3  # the same of all that is heard for it, of which the span is only the end: the model
# makes one tone of it, the other voice included. With less than this, most of it is still one voice's alone
CRUMB: Final = 0.1  # s; a turn's last bit that is not worth a reading of its own

Stretch = tuple[float, float]  # [start, end) in seconds


@dataclass(frozen=True, slots=True)
class Fragment:
    """What is newly said, [start, end), and from where on the model hears it: the turn so far, at most LONGEST."""

    turn: int
    start: float
    end: float
    heard_from: float


def unread(turns: Sequence[Turn], read_until: float, over: bool) -> list[Fragment]:
    """Fragments for the speech after `read_until` (seconds), in order of time: one a turn, unless that is longer.

    A turn that goes on is read a hop at a time. One that ended is read to its end: all turns but the last, and the
    last where `over` says so.
    """
    fragments = []
    for turn in turns:
        start = max(turn.start, read_until)
        due = CRUMB if over or turn is not turns[-1] else HOP_SECONDS
        while turn.end - start > LONGEST + 1e-6:
            fragments.append(Fragment(turn.id, start, start + LONGEST, start))
            start += LONGEST
        heard_from = max(turn.start, turn.end - LONGEST)
        if turn.end - start >= due - 1e-6 and turn.end - heard_from >= SHORTEST - 1e-6:
            fragments.append(Fragment(turn.id, start, turn.end, heard_from))
    return fragments


def talked_over(span: Stretch, heard: Stretch, overlaps: Sequence[Stretch], known_until: float = inf) -> bool:
    """Whether two talk at once in so much of a reading's `span`, or of what is heard for it, that it is either's tone.

    `overlaps`: where two talk at once, in order of time and apart; `known_until`: seconds up to which that is known,
    beyond which nothing counts.
    """
    within_span, within_heard = (_share(overlaps, start, min(end, known_until)) for start, end in (span, heard))
    return within_span >= MIXED_SHARE - 1e-6 or within_heard >= MIXED_SHARE_HEARD - 1e-6


def _share(stretches: Sequence[Stretch], start: float, end: float) -> float:
    """How much of [start, end) lies in some stretches, which are in order of time; 0 where there is nothing of it."""
    reaching = islice(stretches, bisect_right(stretches, start, key=itemgetter(1)), None)
    seconds = sum(min(last, end) - max(first, start) for first, last in takewhile(lambda one: one[0] < end, reaching))
    return seconds / (end - start) if start < end else 0.0
