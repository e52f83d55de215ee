"""A recording heard at once, with the real diariser, on talkers that the project makes itself."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline import passages
from pipeline import voiceprint as voiceprints
from pipeline.diarisation import Unit
from pipeline.diarisation.local import LocalDiariser
from pipeline.emotion import EmotionHead, EmotionModel
from pipeline.fragments import LONGEST, SHORTEST
from pipeline.hearing import DIARISING, PLAINLY, READING, Ears, Listening, Progress
from pipeline.recording import hear as hear_sound
from pipeline.recording import read
from pipeline.segments import ears_here
from pipeline.sound import Sound
from pipeline.timeline import EMOTIONS, SAMPLE_RATE, UNSURE, Timeline, Turn
from tests.service import Pcm, silence
from tests.talkers import Said

SIZE = 4
Talk = tuple[Pcm, list[Said]]


class Ear:
    """A stand-in for the model whose answer depends on what it hears; it counts how much that was."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []  # samples of each fragment of each call

    def embed(self, fragments: Sequence[Pcm]) -> list[np.ndarray]:
        self.batches.append([len(fragment) for fragment in fragments])
        return [np.array([np.log1p(np.abs(f[k::SIZE].astype(float)).mean()) for k in range(SIZE)]) for f in fragments]


def a_head() -> EmotionHead:
    alone, known = np.random.default_rng(1).standard_normal((2, SIZE + 1, len(EMOTIONS))).astype(np.float32)
    return EmotionHead("test", 0.3, alone, known, (1.0, 1.0))


def hear(
    pcm: Pcm, diariser: LocalDiariser, model: Any, head: EmotionHead, how: Listening = PLAINLY, at_once: int = 1
) -> Timeline:
    with Sound([pcm]) as sound:
        return hear_sound(sound, ears_here(diariser, model, at_once), head, how)


def turn(number: int, speaker: int, start: float, end: float) -> Turn:
    return Turn(id=number, speaker=speaker, start=start, end=end, final=True)


def noise(seconds: float) -> Pcm:
    return np.random.default_rng(0).integers(-9_000, 9_000, round(seconds * SAMPLE_RATE), np.int16)


@pytest.fixture(scope="module")
def diariser() -> LocalDiariser:
    return LocalDiariser()


@pytest.fixture(scope="module")
def timeline(small_conversation: Talk, diariser: LocalDiariser) -> Timeline:
    return hear(small_conversation[0], diariser, Ear(), a_head())


def test_each_talker_gets_their_turns(timeline: Timeline, small_conversation: Talk) -> None:
    said = small_conversation[1]
    speakers = []
    for line in said:
        shared = {
            speaker: sum(turn.overlap(line.start, line.end) for turn in timeline.turns_of(speaker))
            for speaker in timeline.speakers
        }
        speakers.append(max(shared, key=lambda speaker: shared[speaker]))
        assert shared[speakers[-1]] > 0.9 * (line.end - line.start)
    assert len(set(zip(speakers, (line.talker for line in said), strict=True))) == 2, "a talker changed numbers"


def test_nothing_is_provisional(timeline: Timeline, small_conversation: Talk) -> None:
    assert timeline.ended
    assert timeline.heard_until == len(small_conversation[0]) / SAMPLE_RATE
    assert timeline.turns
    assert all(turn.final for turn in timeline.turns.values())
    assert all(turn.id == number for number, turn in timeline.turns.items())


def test_readings_cover_their_turn_without_overlap_or_hole(timeline: Timeline) -> None:
    for turn in timeline.turns.values():
        readings = [reading for reading in timeline.readings if reading.turn == turn.id]
        if turn.duration >= SHORTEST:
            assert (readings[0].start, readings[-1].end) == (turn.start, turn.end)
        assert all(reading.end == following.start for reading, following in itertools.pairwise(readings))
        assert all(0.3 < reading.duration < 0.8 for reading in readings)
    assert [reading.start for reading in timeline.readings] == sorted(reading.start for reading in timeline.readings)


def test_readings_are_set_against_everything_else_of_their_speaker(timeline: Timeline) -> None:
    assert {reading.mode for reading in timeline.readings} == {"full"}
    for reading in timeline.readings:
        speaker = timeline.speaker_of(reading)
        assert speaker
        others = [other for other in timeline.readings_of(speaker) if other.turn != reading.turn and not other.mixed]
        assert reading.baseline == pytest.approx(sum(other.duration for other in others), abs=2e-3)


def test_the_same_sound_gives_the_same_timeline(
    timeline: Timeline, small_conversation: Talk, diariser: LocalDiariser
) -> None:
    assert hear(small_conversation[0], diariser, Ear(), a_head()) == timeline


@pytest.mark.parametrize("batch", [1, 3, 1_000])
def test_batches_make_no_difference(
    timeline: Timeline, small_conversation: Talk, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(passages, "BATCH", batch)
    ear = Ear()
    assert read(small_conversation[0], list(timeline.turns.values()), ear, a_head()) == timeline.readings
    assert max(map(len, ear.batches)) <= batch


def test_silence_has_an_empty_timeline(diariser: LocalDiariser) -> None:
    ear = Ear()
    assert hear(silence(25), diariser, ear, a_head()) == Timeline(heard_until=25, ended=True)
    assert hear(silence(0), diariser, ear, a_head()) == Timeline(heard_until=0, ended=True)
    assert not ear.batches


def test_speech_that_the_end_cuts_off_is_a_turn_and_no_longer_than_the_recording(
    small_conversation: Talk, diariser: LocalDiariser
) -> None:
    pcm, said = small_conversation
    seconds = said[0].end - 0.2
    timeline = hear(pcm[: round(seconds * SAMPLE_RATE)], diariser, Ear(), a_head())
    assert max(turn.end for turn in timeline.turns.values()) == pytest.approx(seconds, abs=0.05)
    assert max(turn.end for turn in timeline.turns.values()) <= timeline.heard_until


def test_who_says_one_thing_only_is_heard_alone() -> None:
    readings = read(noise(12), [turn(0, 1, 0, 2), turn(4, 2, 3, 5), turn(8, 1, 6, 7)], Ear(), a_head())
    assert {(reading.turn, reading.mode, reading.baseline) for reading in readings} == {
        (0, "full", 1.0),
        (4, "none", 0.0),
        (8, "full", 2.0),
    }


def test_a_turn_has_no_part_in_its_own_baseline() -> None:
    """Two speakers say the same first thing, and only one of them goes on: it is the rest that tells them apart."""
    pcm = np.concatenate([noise(1), noise(1), noise(9)])
    alone, known = (
        [reading.probabilities for reading in read(pcm, turns, Ear(), a_head()) if reading.turn == 0]
        for turns in ([turn(0, 1, 0, 1)], [turn(0, 1, 0, 1), turn(2, 1, 4, 9)])
    )
    assert alone != known
    same = read(pcm, [turn(0, 1, 0, 1), turn(2, 1, 4, 9), turn(20, 2, 1, 2), turn(22, 2, 4, 9)], Ear(), a_head())
    assert [r.probabilities for r in same if r.turn == 0] == [r.probabilities for r in same if r.turn == 20]


def test_a_reading_hears_both_sides_of_it_in_its_turn() -> None:
    ear = Ear()
    readings = read(noise(12), [turn(0, 1, 1, 11)], ear, a_head())
    assert len(readings) == 20
    assert {reading.heard for reading in readings} == {LONGEST}
    heard = [samples for batch in ear.batches for samples in batch]
    assert set(heard) == {round(LONGEST * SAMPLE_RATE)}
    # The first two readings hear the turn's first 2 s, the last two its last 2 s.
    assert len(heard) == 20 - 1 - 1
    assert len({reading.probabilities for reading in readings[:3]}) == 1


def test_what_is_said_beneath_a_turn_leaves_open_whose_tone_it_is_and_teaches_nothing_of_it() -> None:
    beneath = Turn(id=3, speaker=2, start=2, end=3, second_voice=True)
    readings = read(noise(12), [turn(0, 1, 0, 6), beneath, turn(8, 1, 8, 9)], Ear(), a_head())
    mixed = [reading for reading in readings if reading.mixed]
    # Those that hear two thirds of a second of it or more, of the 2 s around their half second.
    assert (len(mixed), mixed[0].start, mixed[-1].end) == (4, 1.5, 3.5)
    assert {reading.label for reading in mixed} == {UNSURE}
    assert {reading.baseline for reading in readings if reading.turn == 8} == {6 - 2}


def test_two_at_once_are_heard_in_a_recording_even_where_nobody_else_is_known() -> None:
    """Live such a reading was withheld, and of a recording told: nobody was found whose the second voice could be."""
    voiceprint = np.eye(1, voiceprints.SIZE, dtype=np.float16)[0]
    edges = range(0, 6 * SAMPLE_RATE, SAMPLE_RATE // 2)
    units = [Unit(first, first + SAMPLE_RATE // 2, first, voiceprint) for first in edges]
    units[4:8] = [replace(unit, overlap=(unit.start, unit.end)) for unit in units[4:8]]
    with Sound([noise(6)]) as sound:
        heard = hear_sound(sound, Ears(lambda segment: units, Ear().embed), a_head())
    assert not any(turn.second_voice for turn in heard.turns.values())
    assert [reading.mixed for reading in heard.readings] == [
        reading.overlap(1.5, 4.5) > 0 for reading in heard.readings
    ]


def test_what_is_too_short_to_tell_is_not_read() -> None:
    readings = read(noise(4), [turn(0, 1, 0, 0.4), turn(1, 1, 1, 1.5)], Ear(), a_head())
    assert [(reading.turn, reading.start, reading.end) for reading in readings] == [(1, 1, 1.5)]
    assert readings[0].mode == "none", "what was not heard is no baseline"


def test_progress_goes_step_by_step_up_to_one(small_conversation: Talk, diariser: LocalDiariser) -> None:
    told: list[Progress] = []
    how = Listening(on_progress=told.append)
    timeline = hear(small_conversation[0], diariser, Ear(), a_head(), how)
    assert [step for step, _ in itertools.groupby(told, key=lambda one: one.step)] == [DIARISING, READING]
    for step in (DIARISING, READING):
        done = [progress.done for progress in told if progress.step == step]
        assert done[-1] == pytest.approx(timeline.heard_until, abs=1e-3)
    shares = [progress.share for progress in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_shipped_model_hears_a_recording(small_conversation: Talk, diariser: LocalDiariser) -> None:
    head = EmotionHead.load()
    readings = hear(small_conversation[0], diariser, EmotionModel.load(), head).readings
    assert readings
    assert {reading.label for reading in readings} <= {*EMOTIONS, UNSURE}
    assert {reading.model for reading in readings} == {head.version}
