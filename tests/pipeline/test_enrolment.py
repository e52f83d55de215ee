"""Voices: what can be enrolled, and who is called by which name."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.diarisation.local import LocalDiariser
from pipeline.enrolment import LEAST_SECONDS, SAME_VOICE, CannotEnrol, enrol, recognise, version
from pipeline.session import Voice
from pipeline.voiceprint import SIZE
from tests.service import Pcm, silence
from tests.talkers import HIGH, LOW, Line, Talker, conversation


@pytest.fixture(scope="module")
def diariser() -> LocalDiariser:
    return LocalDiariser()


def talk(*talkers: Talker, seconds: tuple[float, ...], seed: int = 3) -> Pcm:
    """Each talker talks for so many seconds, in pieces of at most 4 s."""
    lines = [
        Line(number, min(4.0, most - begun))
        for number, most in enumerate(seconds)
        for begun in np.arange(0, most, 4.0).tolist()
    ]
    return np.round(conversation(talkers, lines, seed)[0] * 32_767).astype(np.int16)


def voice(number: int, name: str, *parts: tuple[int, float]) -> Voice:
    return Voice(f"v{number}", name, direction(*parts).astype(np.float16))


def direction(*parts: tuple[int, float]) -> np.ndarray:
    vector = np.zeros(SIZE, np.float32)
    for axis, length in parts:
        vector[axis] = length
    return vector


def test_a_voice_is_known_again_and_nobody_else_is(diariser: LocalDiariser) -> None:
    low, high = (
        Voice(talker.name, talker.name, enrol(talk(talker, seconds=(10,)), diariser)[0].astype(np.float16))
        for talker in (LOW, HIGH)
    )
    later = {
        number: enrol(talk(talker, seconds=(6,), seed=9), diariser)[0]
        for number, talker in enumerate((HIGH, LOW), start=1)
    }
    assert recognise(later, [low, high]) == {1: "high", 2: "low"}
    assert recognise(later, [low]) == {2: "low"}
    assert recognise({2: later[2]}, [high]) == {}


def test_what_is_enrolled_has_unit_length_and_says_how_much_was_heard(diariser: LocalDiariser) -> None:
    voiceprint, seconds = enrol(talk(LOW, seconds=(12,)), diariser)
    assert voiceprint.shape == (SIZE,)
    assert np.linalg.norm(voiceprint) == pytest.approx(1, abs=1e-5)
    assert seconds == pytest.approx(12, abs=1.5)


@pytest.mark.parametrize(("seconds", "says"), [(0, "Only 0.0 s"), (3, "s of speech were heard; talk for 10 s")])
def test_too_little_speech_is_refused(diariser: LocalDiariser, seconds: float, says: str) -> None:
    with pytest.raises(CannotEnrol, match=says):
        enrol(talk(LOW, seconds=(seconds,)) if seconds else silence(20), diariser)
    assert LEAST_SECONDS == 5


def test_two_voices_are_refused_and_a_word_in_between_is_not(diariser: LocalDiariser) -> None:
    with pytest.raises(CannotEnrol, match="More than one voice"):
        enrol(talk(LOW, HIGH, seconds=(10, 6)), diariser)
    alone, _ = enrol(talk(LOW, seconds=(14,)), diariser)
    interrupted, seconds = enrol(talk(LOW, HIGH, seconds=(14, 1.5)), diariser)
    assert alone @ interrupted > 0.9
    assert seconds < 15


def test_each_voice_has_one_speaker_and_each_speaker_one_voice() -> None:
    anna, ben = voice(1, "Anna", (0, 1)), voice(2, "Ben", (1, 1))
    both_like_anna = {1: direction((0, 0.9), (1, 0.4)) * 7, 2: direction((0, 1.0))}
    assert recognise(both_like_anna, [anna]) == {2: "Anna"}
    assert recognise({1: direction((1, 30)), 2: direction((0, 2))}, [anna, ben]) == {1: "Ben", 2: "Anna"}


def test_a_stranger_takes_no_voice_from_its_owner() -> None:
    """The largest sum of all pairs used to prefer two pairs of middling likeness to one that is right."""
    near = SAME_VOICE - 0.05
    rest = float(np.sqrt(1 - near**2))
    anna, ben = voice(1, "Anna", (0, 1)), voice(2, "Ben", (0, near), (1, rest))
    speakers = {1: direction((0, SAME_VOICE + 0.05), (1, -0.2)), 2: direction((0, near), (2, rest))}
    assert recognise(speakers, [anna, ben]) == {1: "Anna"}


def test_nobody_and_nothing() -> None:
    assert recognise({}, [voice(1, "Anna", (0, 1))]) == {}
    assert recognise({1: direction((0, 1))}, []) == {}
    assert recognise({1: direction()}, [voice(1, "Anna", (0, 1))]) == {}


def test_the_version_is_that_of_the_models() -> None:
    assert len(version()) == 16
    assert version() == version()
