"""Words find the turn that they were said in."""

from __future__ import annotations

from pipeline.timeline import Timeline, Turn, Word
from ui.transcript import lines, said


def timeline(*words: Word) -> Timeline:
    known = Timeline(names={2: "Anna"}, words=list(words))
    known.put(Turn(id=0, speaker=1, start=0, end=4))
    known.put(Turn(id=1, speaker=2, start=2, end=3, second_voice=True))
    known.put(Turn(id=2, speaker=2, start=5, end=8))
    return known


def word(text: str, start: float, speaker: int | None = None) -> Word:
    return Word(start=start, end=start + 0.2, text=text, speaker=speaker)


def test_each_turn_is_a_line_in_order_of_time() -> None:
    told = timeline(
        word("so", 0.1, 1), word("then", 2.2, 1), word("yes", 2.3, 2), word("well", 5.0, 2), word("no", 6, 2)
    )
    assert [(line.turn, line.name, line.start, line.text) for line in lines(told)] == [
        (0, "Speaker 1", 0, "so then"),
        (1, "Anna", 2, "yes"),
        (2, "Anna", 5, "well no"),
    ]
    assert said(told) == {0: "so then", 1: "yes", 2: "well no"}
    assert [line.turn for line in lines(told, newest=2)] == [1, 2]


def test_a_word_of_an_unknown_voice_is_whoevers_is_louder() -> None:
    assert said(timeline(word("hm", 2.4))) == {0: "hm"}


def test_a_word_just_beside_a_turn_is_still_part_of_it_and_one_far_away_is_not() -> None:
    told = timeline(word("ah", 4.7, 2), word("where", 20, 2), word("who", 30))
    assert [(line.turn, line.name, line.text) for line in lines(told)] == [
        (2, "Anna", "ah"),
        (None, "Anna", "where"),
        (None, "Somebody", "who"),
    ]


def test_without_words_there_are_no_lines() -> None:
    assert lines(timeline()) == []
    assert said(Timeline()) == {}
