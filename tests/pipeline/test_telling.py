"""What a SpeakerMemory makes of what others know: another diariser's tags, people's merges, how many there are."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from pipeline.alignment import SpeakerMemory
from pipeline.diarisation import Unit
from pipeline.diarisation.tags import TaggedWord
from pipeline.session import Expected
from pipeline.timeline import SAMPLE_RATE
from pipeline.voiceprint import SIZE

HALF = SAMPLE_RATE // 2


def voice(axis: int, *, also: int | None = None, share: float = 0.0) -> np.ndarray:
    vector = np.zeros(SIZE)
    vector[axis] = 1.0
    if also is not None:
        vector[also] = share
    return (vector / np.linalg.norm(vector)).astype(np.float16)


ANNA, BEN, CLEO = voice(0), voice(1), voice(2)


def speech(
    start: float, seconds: float, voiceprint: np.ndarray, overlap: tuple[float, float] | None = None
) -> list[Unit]:
    """Units of half a second one after another; the stretch `overlap`, in seconds, is spoken by two at once."""
    units = []
    for i in range(round(seconds * 2)):
        first = round(start * SAMPLE_RATE) + i * HALF
        unit = Unit(first, first + HALF, first, voiceprint)
        if overlap and (a := max(first, round(overlap[0] * SAMPLE_RATE))) < (
            b := min(first + HALF, round(overlap[1] * SAMPLE_RATE))
        ):
            unit = replace(unit, overlap=(a, b))
        units.append(unit)
    return units


def words(start: float, seconds: float, tag: int) -> list[TaggedWord]:
    return [TaggedWord(start + i * 0.5, start + i * 0.5 + 0.45, "word", tag) for i in range(round(seconds * 2))]


def told(memory: SpeakerMemory) -> list[tuple[int, float, float]]:
    return [(turn.speaker, turn.start, turn.end) for turn in memory.turns()]


def test_tags_divide_what_the_memory_took_for_one() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 4, ANNA), *speech(5, 4, voice(0, also=1, share=0.3))])
    assert {speaker for speaker, _, _ in told(memory)} == {1}
    speakers = memory.tell([*words(0, 4, tag=7), *words(5, 4, tag=3)], 0, 30)
    assert speakers == {7: 1, 3: 2}
    assert told(memory) == [(1, 0, 4), (2, 5, 9)]


def test_tags_that_change_hands_between_chunks_do_not_change_the_speakers() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 10, ANNA), *speech(11, 10, BEN)])
    memory.tell([*words(0, 10, 1), *words(11, 10, 2)], 0, 30)
    memory.learn([*speech(31, 10, ANNA), *speech(42, 10, BEN)])
    tail = [*words(15, 6, 1)]  # Ben, who is tag 1 now
    speakers = memory.tell([*tail, *words(31, 10, 2), *words(42, 10, 1)], 30, 60)
    assert speakers == {1: 2, 2: 1}
    assert told(memory) == [(1, 0, 10), (2, 11, 21), (1, 31, 41), (2, 42, 52)]


def test_who_was_silent_in_the_tail_is_found_by_voice() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 10, ANNA), *speech(11, 10, BEN)])
    memory.tell([*words(0, 10, 1), *words(11, 10, 2)], 0, 30)
    memory.learn([*speech(31, 6, CLEO), *speech(40, 6, ANNA)])
    assert memory.tell([*words(31, 6, 1), *words(40, 6, 2)], 30, 60) == {1: 3, 2: 1}


def drifting(start: float, seconds: float, voiceprint: np.ndarray, into: np.ndarray) -> list[Unit]:
    """Somebody whose voice becomes another, bit by bit."""
    units = speech(start, seconds, voiceprint)
    shares = np.linspace(0, 1, len(units))
    mixed = [(1 - share) * voiceprint + share * into for share in shares]
    return [
        replace(unit, voiceprint=(one / np.linalg.norm(one)).astype(np.float16))
        for unit, one in zip(units, mixed, strict=True)
    ]


def test_who_changes_while_nothing_is_told_stays_who_they_are() -> None:
    # Where one answer was missing, the next one's tags were found by voice alone: Ben's other mood was somebody new.
    ben_annoyed = voice(1, also=3, share=1.8)
    memory = SpeakerMemory()
    memory.learn([*speech(0, 10, ANNA), *speech(12, 10, BEN)])
    memory.tell([*words(0, 10, 1), *words(12, 10, 2)], 0, 30)
    memory.learn([*speech(31, 10, ANNA), *drifting(45, 10, BEN, into=ben_annoyed)])
    memory.tell([], 30, 60)
    memory.learn([*speech(61, 10, ben_annoyed), *speech(75, 5, ANNA)])
    assert memory.tell([*words(45, 10, 5), *words(61, 10, 5), *words(75, 5, 4)], 60, 90) == {5: 2, 4: 1}
    assert [speaker for speaker, *_ in told(memory)] == [1, 2, 1, 2, 2, 1]


def test_what_another_diariser_told_is_not_clustered_away() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 5, ANNA), *speech(6, 5, ANNA)])
    memory.tell([*words(0, 5, 1), *words(6, 5, 2)], 0, 30)
    memory.learn(speech(31, 5, ANNA))
    assert told(memory)[:2] == [(1, 0, 5), (2, 6, 11)]


def test_who_talks_far_from_any_word_stays_who_they_were() -> None:
    # All speech of a chunk once went to whoever said the nearest word: whom Google missed became somebody else.
    memory = SpeakerMemory()
    memory.learn([*speech(0, 5, ANNA), *speech(20, 5, BEN)])
    before = told(memory)
    assert memory.tell([], 0, 30) == {}
    assert told(memory) == before
    assert memory.tell(words(0, 5, tag=1), 0, 30) == {1: 1}
    assert told(memory) == before == [(1, 0, 5), (2, 20, 25)]
    assert [heard.settled for heard in memory.heard] == [True] * 10 + [False] * 10
    memory.learn([*speech(31, 5, BEN), *speech(37, 5, ANNA)])
    assert told(memory)[2:] == [(2, 31, 36), (1, 37, 42)], "and may still be known again"


def test_speech_next_to_a_word_is_that_words_speakers() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 6, ANNA), *speech(7, 4, ANNA)])
    memory.tell([*words(0, 5, tag=1), *words(7.4, 3, tag=2)], 0, 30)  # the second voice is known to begin at 7.4 s only
    settled = [(h.unit.start / SAMPLE_RATE, h.speaker) for h in memory.heard if h.settled]
    assert settled == [*((i / 2, 1) for i in range(11)), *((7 + i / 2, 2) for i in range(8))]


def test_a_word_of_an_unknown_tag_is_no_new_speaker() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 10, ANNA), *speech(11, 10, BEN)])
    memory.tell([*words(0, 10, 1), *words(11, 10, 2)], 0, 30)
    memory.learn([*speech(31, 5, ANNA), *speech(37, 0.5, BEN)])
    speakers = memory.tell([*words(31, 5, 1), *words(37, 0.5, 9)], 30, 60)
    assert speakers == {1: 1, 9: 2}


def test_a_merge_by_a_person_holds_for_what_is_said_later() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 4, ANNA), *speech(5, 4, BEN)])
    memory.join(1, 2)
    memory.learn([*speech(10, 4, BEN), *speech(15, 4, CLEO)])
    assert [speaker for speaker, _, _ in told(memory)] == [1, 1, 1, 3]
    assert memory.speakers == [1, 3]


def test_turns_of_two_who_are_one_are_one_turn() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 4, ANNA), *speech(4.2, 4, BEN)])
    memory.join(1, 2)
    assert told(memory) == [(1, 0, 8.2)]


def test_no_more_speakers_than_expected() -> None:
    units = [*speech(0, 6, ANNA), *speech(7, 6, BEN), *speech(14, 3, CLEO)]
    free, bound = SpeakerMemory(), SpeakerMemory(Expected(1, 2))
    free.learn(units)
    bound.learn(units)
    assert free.speakers == [1, 2, 3]
    assert bound.speakers == [1, 2]


def test_tags_make_no_more_speakers_than_expected() -> None:
    # Any voice that another diariser told apart was somebody new once, however few were said to talk.
    memory = SpeakerMemory(Expected(1, 2))
    memory.learn([*speech(0, 5, ANNA), *speech(5, 5, BEN)])
    memory.tell([*words(0, 5, 1), *words(5, 5, 2)], 0, 30)
    memory.learn(speech(40, 10, voice(2, also=1, share=0.4)))
    assert memory.tell(words(40, 10, 1), 30, 60) == {1: 2}, "whoever is most like it"
    assert memory.speakers == [1, 2]


def test_more_tags_than_people_are_divided_among_them() -> None:
    memory = SpeakerMemory(Expected(1, 2))
    memory.learn([*speech(0, 8, ANNA), *speech(9, 8, ANNA), *speech(18, 8, voice(0, also=1, share=0.3))])
    assert memory.speakers == [1]
    told_apart = memory.tell([*words(0, 8, 1), *words(9, 6, 2), *words(18, 8, 3)], 0, 30)
    assert told_apart == {1: 1, 2: 1, 3: 2}, "whoever says more comes first"
    assert memory.speakers == [1, 2]


def test_a_tag_of_whom_the_memory_does_not_know_is_whom_no_tag_is_yet() -> None:
    memory = SpeakerMemory(Expected(1, 2))
    memory.learn([*speech(0, 10, ANNA), *speech(11, 10, BEN)])  # of whom nothing was told
    memory.tell([], 0, 30)
    memory.learn([*speech(31, 12, ANNA), *speech(43, 8, voice(0, also=1, share=0.8))])
    assert [speaker for speaker, *_ in told(memory)] == [1, 2, 1]
    assert memory.tell([*words(31, 12, 3), *words(43, 8, 4)], 30, 60) == {3: 1, 4: 2}
    assert memory.speakers == [1, 2]


def test_a_speaker_without_a_voiceprint_is_like_nobody() -> None:
    # Whom tags alone had made a speaker was looked up among the voices, and the answer was lost.
    memory = SpeakerMemory()
    memory.learn([*speech(0, 5, ANNA), *(replace(unit, voiceprint=None) for unit in speech(20, 3, BEN))])
    memory.tell([*words(0, 5, 1), *words(20, 3, 2)], 0, 30)
    memory.learn(speech(31, 5, CLEO))
    assert memory.tell([*words(16, 1, 1), *words(31, 5, 1)], 30, 60) == {1: 3}


def test_no_fewer_speakers_than_expected() -> None:
    alike = voice(0, also=1, share=0.6)
    units = [*speech(0, 6, ANNA), *speech(7, 6, alike)]
    free, bound = SpeakerMemory(), SpeakerMemory(Expected(2, None))
    free.learn(units)
    bound.learn(units)
    assert free.speakers == [1]
    assert told(bound) == [(1, 0, 6), (2, 7, 13)]


def test_a_second_voice_is_the_nearest_other_speaker() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 4, ANNA), *speech(4.2, 4, BEN, overlap=(4.2, 5.0)), *speech(9, 4, CLEO)])
    (beneath,) = memory.second_voices()
    assert (beneath.speaker, beneath.start, beneath.end, beneath.second_voice) == (1, 4.2, 5.0, True)
    assert beneath.id % 2 == 1
    assert memory.overlaps() == [(4.2, 4.7), (4.7, 5.0)]


def test_nobody_talks_beneath_the_only_speaker() -> None:
    memory = SpeakerMemory()
    memory.learn(speech(0, 4, ANNA, overlap=(1, 2)))
    assert memory.second_voices() == []


def test_a_second_voice_survives_packing() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 4, ANNA), *speech(4.2, 4, BEN, overlap=(4.2, 5.0))])
    assert SpeakerMemory.unpack(memory.pack()).second_voices() == memory.second_voices()


def test_the_number_of_somebody_who_was_merged_is_nobody_elses() -> None:
    # A new voice once got the number of a merged speaker who had dissolved, and was shown as who that was merged with.
    memory = SpeakerMemory()
    memory.learn([*speech(0, 2, ANNA), *speech(3, 1, voice(0, also=1, share=5.0))])
    assert memory.speakers == [1, 2]
    memory.join(1, 2)
    memory.learn(speech(5, 60, voice(0, also=1, share=0.9)))  # hearing more, both are one voice
    memory.learn(speech(70, 20, CLEO))
    assert [speaker for speaker, start, _ in told(memory) if start >= 70] == [3]


def test_a_new_tag_does_not_get_the_number_of_somebody_who_talks_later() -> None:
    memory = SpeakerMemory()
    memory.learn([*speech(0, 20, ANNA), *speech(20.5, 9, voice(0, also=1, share=0.4)), *speech(31, 15, CLEO)])
    assert {speaker for speaker, start, _ in told(memory) if start >= 31} == {2}
    assert memory.tell([*words(0, 20, 1), *words(20.5, 9, 2)], 0, 30) == {1: 1, 2: 3}
    assert {speaker for speaker, start, _ in told(memory) if start >= 31} == {2}


def test_two_who_were_told_apart_are_never_taken_for_one() -> None:
    alike = voice(0, also=1, share=0.4)
    units = [*speech(0, 10, ANNA), *speech(11, 10, alike)]
    memory = SpeakerMemory()
    memory.learn(units)
    memory.tell([*words(0, 10, 1), *words(11, 10, 2)], 0, 30)
    for turn, following in itertools.zip_longest(memory.turns(), memory.turns()[1:]):
        memory.retire(turn, following)
    assert memory.learn(speech(31, 2, ANNA)) == []
    assert sorted(memory.anchors) == [1, 2]


def test_more_expected_than_there_are_does_not_shatter_who_is_there() -> None:
    rng = np.random.default_rng(1)
    noisy = [ANNA + 0.1 * rng.standard_normal(SIZE) for _ in range(120)]
    units = [
        Unit(i * HALF, (i + 1) * HALF, i * HALF, (one / np.linalg.norm(one)).astype(np.float16))
        for i, one in enumerate(noisy)
    ]
    memory = SpeakerMemory(Expected(8, None))
    memory.learn(units)
    assert len(memory.speakers) <= 8
