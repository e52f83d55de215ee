"""What has changed in the turns since they were last told: growth one by one, corrections together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.events import TurnRevised, TurnUpdated
from pipeline.timeline import Turn


def revisions(known: Mapping[int, Turn], turns: Sequence[Turn]) -> Iterator[TurnRevised | TurnUpdated]:
    """The events that make the `known` turns, by their ids, into `turns`.

    Whatever takes a place that was told of otherwise comes with the correction, so that no view shows both.
    """
    grown, corrected = [], []
    for turn in turns:
        before = known.get(turn.id)
        if before is None or (before.speaker == turn.speaker and before.end < turn.end):
            grown.append(turn)
        elif before != turn:
            corrected.append(turn)
    removed = tuple(sorted(known.keys() - {turn.id for turn in turns}))
    if removed or corrected:
        stale = [known[turn_id] for turn_id in (*removed, *(turn.id for turn in corrected))]
        covering = [turn for turn in grown if any(turn.overlap(old.start, old.end) for old in stale)]
        yield TurnRevised(removed=removed, turns=(*corrected, *covering))
        grown = [turn for turn in grown if turn not in covering]
    for turn in grown:
        yield TurnUpdated(turn=turn)
