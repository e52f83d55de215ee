"""What was said, word by word, gathered by turn. A session whose diariser gives no words has none of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from pipeline.timeline import Timeline, Turn, Word

LINES = 60  # of the newest that the page lists
NEAR = 1.0  # seconds from a turn at most within which a word that no turn covers is still counted as its own
LONGEST_TURN = 300.0  # seconds before a word in which its turn is looked for


class Line(BaseModel):
    """What somebody said in one turn. A word that no turn is near stands in a line of its own."""

    turn: int | None
    speaker: int | None
    name: str
    start: float
    text: str


def lines(timeline: Timeline, newest: int = LINES) -> list[Line]:
    """The newest lines in order of time."""
    return list(_lines(timeline))[-newest:]


def said(timeline: Timeline) -> dict[int, str]:
    """What was said, by turn id."""
    return {line.turn: line.text for line in _lines(timeline) if line.turn is not None}


def _lines(timeline: Timeline) -> Iterator[Line]:
    by_turn: dict[int, tuple[Turn, list[Word]]] = {}
    astray: list[tuple[None, list[Word]]] = []
    for word, turn in _owned(timeline):
        if turn is None:
            astray.append((None, [word]))
        else:
            by_turn.setdefault(turn.id, (turn, []))[1].append(word)
    for turn, spoken in sorted([*by_turn.values(), *astray], key=lambda line: (line[0] or line[1][0]).start):
        speaker = turn.speaker if turn else spoken[0].speaker
        yield Line(
            turn=turn.id if turn else None,
            speaker=speaker,
            name="Somebody" if speaker is None else timeline.name_of(speaker),
            start=turn.start if turn else spoken[0].start,
            text=" ".join(word.text for word in spoken),
        )


def _owned(timeline: Timeline) -> Iterator[tuple[Word, Turn | None]]:
    """Every word with the turn that it belongs to."""
    turns = sorted(timeline.turns.values(), key=lambda turn: turn.start)
    starts = [turn.start for turn in turns]
    for word in timeline.words:
        first = bisect_left(starts, word.middle - LONGEST_TURN)
        last = bisect_left(starts, word.middle + NEAR)
        yield word, _owner(word, turns[first:last])


def _owner(word: Word, turns: Iterable[Turn]) -> Turn | None:
    """The turn of the word's speaker that is nearest; of several that cover it, whoever is not beneath another."""
    near = [
        turn
        for turn in turns
        if _distance(word, turn) < NEAR and (word.speaker is None or turn.speaker == word.speaker)
    ]
    return min(near, key=lambda turn: (_distance(word, turn), turn.second_voice, turn.start), default=None)


def _distance(word: Word, turn: Turn) -> float:
    return max(turn.start - word.middle, word.middle - turn.end, 0.0)
