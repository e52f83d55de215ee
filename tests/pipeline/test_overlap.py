from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.overlap import FRAME, REACH, OverlapDetector
from pipeline.timeline import SAMPLE_RATE
from tests.talkers import HIGH, LOW, ROOM_LEVEL, TALKERS, Talker

SECONDS = 3
SAMPLES = SECONDS * SAMPLE_RATE


@pytest.fixture(scope="module")
def detector() -> OverlapDetector:
    return OverlapDetector()


def said(talker: Talker, seed: int) -> NDArray[np.float32]:
    """A window full of one talker, in a quiet room."""
    hiss = np.random.default_rng(seed).standard_normal(SAMPLES, np.float32) * np.float32(ROOM_LEVEL)
    return talker.say(SECONDS, seed) + hiss


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_voices_at_once_are_more_of_an_overlap_than_either_alone(detector: OverlapDetector, seed: int) -> None:
    low, high = said(LOW, seed), said(HIGH, seed + 10)
    alone_low, alone_high, both = (float(detector.hear(heard).mean()) for heard in (low, high, low + high))
    assert both > max(alone_low, alone_high) + 0.1


def test_only_the_stretch_where_both_talk_is_overlap(detector: OverlapDetector) -> None:
    middle = SAMPLES // 3
    low, high = said(LOW, 1), said(HIGH, 2)
    low[2 * middle :] *= 0.001
    high[:middle] *= 0.001
    heard = detector.hear(low + high)
    third = len(heard) // 3
    between = heard[third : 2 * third].mean()
    assert between > heard[:third].mean() + 0.3
    assert between > heard[2 * third :].mean() + 0.3


def test_answers_stand_at_the_frames_that_they_are_of(detector: OverlapDetector) -> None:
    begin, end = 60, 120
    middles = []
    for talker, seed in itertools.product(TALKERS, (1, 2, 3)):
        talk = said(talker, seed)
        talk[: begin * FRAME] = talk[end * FRAME :] = 0
        heard = np.flatnonzero(detector.count(talk)[:, 0] < 0.5)
        middles.append((heard[0] + heard[-1] + 1) / 2)  # it takes a little on both sides for speech
    assert np.mean(middles) == pytest.approx((begin + end) / 2, abs=0.7)


def test_a_window_is_heard_the_same_again(detector: OverlapDetector) -> None:
    window = said(LOW, 3) + said(HIGH, 4)
    first = detector.hear(window)
    detector.hear(said(LOW, 1))
    np.testing.assert_array_equal(detector.hear(window), first)


@pytest.mark.parametrize("level", [0.0, 1e-5, 0.01])
def test_where_nobody_speaks_nothing_overlaps(detector: OverlapDetector, level: float) -> None:
    hiss = np.random.default_rng(1).standard_normal(SAMPLES, np.float32) * np.float32(level)
    counts = detector.count(hiss).mean(axis=0)
    assert counts[2] < 0.1
    assert counts.argmax() == 0


@pytest.mark.parametrize("gain", [0.03, 10.0])
def test_the_level_does_not_matter(detector: OverlapDetector, gain: float) -> None:
    both = said(LOW, 5) + said(HIGH, 6)
    np.testing.assert_allclose(detector.hear(both * np.float32(gain)), detector.hear(both), atol=0.02)


@pytest.mark.parametrize("samples", [0, FRAME - 1, REACH - 1, REACH, 5 * FRAME + 1, 16_000])
def test_whole_frames_are_answered(detector: OverlapDetector, samples: int) -> None:
    counts = detector.count(said(LOW, 8)[:samples])
    assert counts.shape == (samples // FRAME, 3)
    np.testing.assert_allclose(counts.sum(axis=1), 1, atol=1e-5)
