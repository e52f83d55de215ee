"""Voiceprints: their shape, their independence of one another, and what they tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.clustering import DISTINCT
from pipeline.timeline import SAMPLE_RATE
from pipeline.voiceprint import EMBEDDING_SIZE, LONGEST, SHORTEST, SIZE, VoiceEncoder
from tests.talkers import HIGH, LOW


@pytest.fixture(scope="module")
def encoder() -> VoiceEncoder:
    return VoiceEncoder()


def test_no_windows_give_no_voiceprints(encoder: VoiceEncoder) -> None:
    assert encoder.encode([]).shape == (0, SIZE)
    assert encoder.embed([]).shape == (0, EMBEDDING_SIZE)


def test_voiceprints_have_unit_length_even_of_silence(encoder: VoiceEncoder) -> None:
    silence = np.zeros(round(SHORTEST * SAMPLE_RATE), np.float32)
    prints = encoder.encode([LOW.say(0.7, seed=1), silence])
    assert prints.shape == (2, SIZE)
    assert prints.dtype == np.float32
    assert np.linalg.norm(prints, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_voiceprint_is_the_same_in_any_company(encoder: VoiceEncoder) -> None:
    windows = [LOW.say(seconds, seed=2) for seconds in (0.4, 1.2, 0.9, 1.0, 0.5)]
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[8_000] = 1  # all power in a few frames
    together = encoder.encode([*windows, click])[: len(windows)]
    alone = np.concatenate([encoder.encode([window]) for window in windows])
    np.testing.assert_array_equal(together, alone)


def test_loudness_does_not_matter(encoder: VoiceEncoder) -> None:
    audio = HIGH.say(LONGEST, seed=3)
    loud, soft = encoder.encode([audio, audio / 8])
    assert loud @ soft == pytest.approx(1, abs=1e-3)


def test_one_voice_is_nearer_to_itself_than_to_another_whatever_it_says(encoder: VoiceEncoder) -> None:
    low, low_again, high = encoder.encode(
        [LOW.say(LONGEST, seed=4), LOW.say(LONGEST, seed=5), HIGH.say(LONGEST, seed=4)]
    )
    assert float(low @ low_again) > DISTINCT > float(low @ high)


def test_the_shipped_voiceprints_are_those_that_thresholds_were_chosen_for(encoder: VoiceEncoder) -> None:
    low, high = encoder.encode([LOW.say(LONGEST, seed=1), HIGH.say(LONGEST, seed=1)])
    assert low[:5] == pytest.approx([-0.025, -0.034, 0.172, -0.016, 0.001], abs=0.01)
    assert high[:5] == pytest.approx([-0.058, -0.044, 0.073, -0.176, 0.097], abs=0.01)
