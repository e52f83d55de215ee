"""Voice activity takes the synthetic talkers for speech, and voiceprints take them for different people."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pipeline.speech import Island, SpeechDetector, SpeechState
from pipeline.timeline import SAMPLE_RATE, Span
from pipeline.voiceprint import LONGEST, VoiceEncoder
from tests.talkers import (
    HIGH,
    LEVEL,
    LOW,
    TALKERS,
    Line,
    Said,
    Talker,
    conversation,
    pcm16,
    small_talk,
    write_wav,
)


def islands(audio: NDArray[np.float32]) -> list[Island]:
    return SpeechDetector().hear(audio, 0, SpeechState.fresh())[0]


@pytest.mark.parametrize("talker", TALKERS, ids=lambda talker: talker.name)
@pytest.mark.parametrize("seconds", [0.06, 0.5, 3.0])
def test_a_talker_talks_as_long_and_as_loud_as_asked(talker: Talker, seconds: float) -> None:
    audio = talker.say(seconds, seed=1)
    assert audio.dtype == np.float32
    assert len(audio) == seconds * SAMPLE_RATE
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(LEVEL, rel=1e-3)
    assert np.abs(audio).max() < 0.9


def test_a_seed_says_one_thing() -> None:
    assert np.array_equal(LOW.say(1, seed=3), LOW.say(1, seed=3))
    assert not np.array_equal(LOW.say(1, seed=3), LOW.say(1, seed=4))


def test_the_pitch_is_the_talkers() -> None:
    for talker in TALKERS:
        audio = replace(talker, liveliness=0).say(6, seed=2)
        correlation = np.fft.irfft(np.abs(np.fft.rfft(audio, 2 * len(audio))) ** 2)
        lags = np.arange(SAMPLE_RATE // 400, SAMPLE_RATE // 70)
        assert SAMPLE_RATE / lags[np.argmax(correlation[lags])] == pytest.approx(talker.pitch, rel=0.02)


def test_lines_follow_one_another_with_their_gaps() -> None:
    audio, said = conversation((LOW, HIGH), [Line(0, 1.0, 0.25), Line(1, 0.5), Line(0, 1.0, -0.25)], seed=1)
    assert said == [Said(0, 0.25, 1.25), Said(1, 1.75, 2.25), Said(0, 2.0, 3.0)]
    assert len(audio) == 3.5 * SAMPLE_RATE
    quiet = audio[round(1.25 * SAMPLE_RATE) : round(1.75 * SAMPLE_RATE)]
    assert 0 < np.abs(quiet).max() < 0.01 * np.abs(audio).max()


def test_small_talk_gives_everyone_a_turn_and_nobody_two_in_a_row() -> None:
    lines = small_talk(talkers=4, seconds=60, seed=5)
    assert [line.talker for line in lines[:4]] == [0, 1, 2, 3]
    assert all(line.talker != following.talker for line, following in itertools.pairwise(lines))
    assert 53 < sum(line.gap + line.seconds for line in lines) <= 60
    assert {line.talker for line in small_talk(talkers=1, seconds=20, seed=5)} == {0}


@pytest.mark.parametrize("talker", TALKERS, ids=lambda talker: talker.name)
def test_voice_activity_hears_speech_in_their_turns_and_none_between(talker: Talker) -> None:
    audio, said = conversation([talker], [Line(0, 4.0, 1.5), Line(0, 6.0, 1.5), Line(0, 3.0, 1.5)], seed=11)
    heard = [island.span for island in islands(audio)]
    for turn in said:
        inside = [span for span in heard if span.overlap(turn.start, turn.end) > 0]
        assert sum(span.overlap(turn.start, turn.end) for span in inside) > 0.95 * (turn.end - turn.start)
        assert all(after.start - span.end < 0.3 for span, after in itertools.pairwise(inside))
        assert inside[0].start > turn.start - 0.1
        assert inside[-1].end < turn.end + 0.2
    assert all(any(span.overlap(turn.start, turn.end) for turn in said) for span in heard)


def test_voiceprints_know_the_talkers() -> None:
    encoder = VoiceEncoder()
    prints = [encoder.encode([talker.say(LONGEST, seed) for seed in range(10)]) for talker in TALKERS]
    same = [(own @ own.T)[np.triu_indices(10, k=1)].min() for own in prints]
    different = {
        (one, other): (prints[one] @ prints[other].T).max()
        for one, other in itertools.combinations(range(len(TALKERS)), 2)
    }
    assert min(same[0], same[1]) > different[0, 1] + 0.1, "LOW and HIGH are far apart"
    assert min(same) > max(different.values()), "and no two are alike"


def test_sixteen_bits_survive_the_file_and_the_wire(tmp_path: Path) -> None:
    audio = np.array([0, 0.5, -1, 1, 2], np.float32)
    assert np.frombuffer(pcm16(audio), "<i2").tolist() == [0, 16384, -32768, 32767, 32767]
    read, rate = soundfile.read(write_wav(tmp_path / "a.wav", audio), dtype="int16")
    assert rate == SAMPLE_RATE
    assert read.tolist() == [0, 16384, -32768, 32767, 32767]


def test_voice_activity_follows_a_minute_of_conversation_turn_by_turn() -> None:
    audio, said = conversation(TALKERS, small_talk(talkers=4, seconds=60, seed=7), seed=7)
    turns = [Span(start=turn.start, end=turn.end) for turn in said]
    heard = [island.span for island in islands(audio)]
    overlap = sum(turn.overlap(span.start, span.end) for turn in turns for span in heard)
    assert overlap > 0.98 * sum(turn.duration for turn in turns)
    assert len(heard) <= len(turns) + 1
