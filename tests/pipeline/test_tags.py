"""Whose tags are whose, and how tagged words become turns."""

from __future__ import annotations

import random

import pytest

from pipeline.diarisation.tags import LIKENESS, PAUSE, SHARED, TaggedWord, Told, speakers_of, turns_of
from pipeline.timeline import Turn


def turn(start: float, end: float, speaker: int) -> Turn:
    return Turn(id=round(start * 1000), start=start, end=end, speaker=speaker, final=True)


def unlike(tag: int, speaker: int) -> float:
    """Nobody sounds like anybody."""
    return -1.0


def said(*words: tuple[float, float, int]) -> list[TaggedWord]:
    return [TaggedWord(start, end, "word", tag) for start, end, tag in words]


def test_words_of_one_voice_make_a_turn() -> None:
    words = said((0.0, 0.4, 1), (0.5, 0.9, 1), (1.0, 1.5, 2), (1.6, 1.8, 1))
    assert turns_of(words, 0, 30) == [Told(0.0, 0.9, 1), Told(1.0, 1.5, 2), Told(1.6, 1.8, 1)]


def test_a_pause_ends_a_turn() -> None:
    words = said((0.0, 1.0, 1), (0.99 + PAUSE, 2.0, 1), (2.01 + PAUSE, 3.0, 1))
    assert turns_of(words, 0, 30) == [Told(0.0, 2.0, 1), Told(2.01 + PAUSE, 3.0, 1)]
    assert turns_of(words, 0, 30, pause=0.5) == [Told(0.0, 3.0, 1)]


def test_a_word_across_the_border_is_told_once() -> None:
    words = said((29.5, 30.2, 1), (30.3, 30.8, 1), (59.8, 60.4, 1))
    assert turns_of(words, 0, 30) == [Told(29.5, 30.0, 1)]
    assert turns_of(words, 30, 60) == [Told(30.3, 30.8, 1)]
    assert turns_of(words, 60, 90) == [Told(60.0, 60.4, 1)]


def test_a_word_without_length_makes_no_turn() -> None:
    assert turns_of(said((1.0, 1.0, 1)), 0, 30) == []
    assert turns_of(said((1.0, 1.0, 1), (1.2, 1.5, 1)), 0, 30) == [Told(1.0, 1.5, 1)]


def test_a_tag_is_the_speaker_with_whom_it_shares_most() -> None:
    words = said((0.0, 5.0, 2), (5.2, 9.0, 1), (9.0, 9.6, 2))
    assert speakers_of(words, [turn(0, 5.1, 7), turn(5.1, 9.8, 4)], unlike) == {2: 7, 1: 4}


def test_the_most_is_shared_by_all_together() -> None:
    """Taken one by one, tag 1 would get speaker 1 (3 s), and tag 2, who shares only with speaker 1, nobody."""
    words = said((0.0, 3.0, 1), (3.0, 5.5, 2), (6.0, 8.6, 1))
    assert speakers_of(words, [turn(0, 5.5, 1), turn(6, 9, 2)], unlike) == {1: 2, 2: 1}


def test_a_brush_at_a_border_is_no_reason() -> None:
    words = said((0.0, 4.0, 1), (4.0, 8.0, 2))
    known = [turn(0, 4 - SHARED, 1), turn(4 - SHARED, 4 + 0.9 * SHARED, 2)]
    assert speakers_of(words, known, unlike) == {1: 1, 2: None}


def test_only_the_tail_counts() -> None:
    """The turns known of the chunk itself are what is to be corrected."""
    words = said((16.0, 20.0, 1), (30.5, 40.0, 2))
    known = [turn(15, 20, 1), turn(30, 40, 2)]
    assert speakers_of(words, known, unlike, before=30) == {1: 1, 2: None}
    assert speakers_of(words, known, unlike) == {1: 1, 2: 2}
    assert speakers_of(words, [turn(15, 40, 1)], unlike, before=30) == {1: 1, 2: None}, "a turn goes on into the chunk"


def test_who_was_silent_is_found_by_voice_and_a_new_voice_is_new() -> None:
    words = said((16.0, 20.0, 1), (31.0, 35.0, 2), (36.0, 40.0, 3))
    cosines = {(2, 1): 0.99, (2, 5): 0.8, (3, 5): LIKENESS + 0.05, (3, 6): LIKENESS - 0.05}

    def likeness(tag: int, speaker: int) -> float:
        return cosines.get((tag, speaker), -1.0)

    found = speakers_of(words, [turn(0, 5, 5), turn(15, 20, 1)], likeness, before=30, speakers=[6])
    assert found == {1: 1, 2: 5, 3: None}, "speaker 1 has a tag, speaker 5 sounds more like 2, speaker 6 not enough"


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_of_two_with_the_same_claim_the_first_to_speak_has_it(first: int, second: int) -> None:
    words = said((0.0, 1.0, first), (1.0, 2.0, second))
    assert speakers_of(words, [turn(0, 2, 5)], unlike) == {first: 5, second: None}


def test_nothing_known_and_nothing_said() -> None:
    assert speakers_of([], [turn(0, 5, 1)], unlike) == {}
    assert speakers_of(said((0.0, 1.0, 3)), [], unlike) == {3: None}


@pytest.mark.parametrize("seed", range(50))
def test_speakers_are_given_once_and_do_not_depend_on_the_tags(seed: int) -> None:
    rng = random.Random(seed)
    tags, people = rng.randint(1, 5), rng.randint(1, 5)
    words = sorted(
        ((start := rng.uniform(0, 40)), start + rng.uniform(0.1, 3), rng.randint(1, tags)) for _ in range(30)
    )
    known = [turn(start, start + rng.uniform(0, 5), rng.randint(1, people)) for start in range(0, 30, 4)]
    cosines = {(tag, person): rng.uniform(-1, 1) for tag in range(1, tags + 1) for person in range(1, people + 3)}
    renamed = dict(zip(range(1, tags + 1), rng.sample(range(1, 9), tags), strict=True))
    back = {new: old for old, new in renamed.items()}

    found = speakers_of(said(*words), known, lambda *pair: cosines[pair], before=30, speakers=[people + 1])
    again = speakers_of(
        said(*((start, end, renamed[tag]) for start, end, tag in words)),
        known,
        lambda tag, speaker: cosines[back[tag], speaker],
        before=30,
        speakers=[people + 1],
    )
    given = [speaker for speaker in found.values() if speaker is not None]
    assert len(given) == len(set(given))
    assert set(found) == {tag for _, _, tag in words}
    assert again == {renamed[tag]: speaker for tag, speaker in found.items()}


def test_how_far_a_run_is_from_a_stretch() -> None:
    run = Told(2.0, 3.0, 1)
    assert [run.apart(0.0, 1.5), run.apart(3.5, 4.0), run.apart(2.0, 3.0), run.apart(2.5, 9.0)] == [0.5, 0.5, -1, -0.5]
