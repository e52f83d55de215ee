from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.diarisation.local import LocalDiariser
from pipeline.overlap import FLOOR, FRAME, SIZE, WINDOW, OverlapDetector, features
from pipeline.timeline import SAMPLE_RATE
from tests.talkers import HIGH, LOW, ROOM_LEVEL, Talker

SAMPLES = WINDOW * FRAME
SECONDS = SAMPLES / 16_000


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
    alone_low, alone_high, both = (float(heard.mean()) for heard in detector.hear([low, high, low + high]))
    assert both > max(alone_low, alone_high) + 0.3


def test_only_the_stretch_where_both_talk_is_overlap(detector: OverlapDetector) -> None:
    middle = SAMPLES // 3
    low, high = said(LOW, 1), said(HIGH, 2)
    low[2 * middle :] *= 0.001
    high[:middle] *= 0.001
    (heard,) = detector.hear([low + high])
    third = WINDOW // 3
    between = heard[third : 2 * third].mean()
    assert between > heard[:third].mean() + 0.3
    assert between > heard[2 * third :].mean() + 0.3


def test_each_window_is_heard_as_if_it_were_alone(detector: OverlapDetector) -> None:
    windows = [said(LOW, 1), said(HIGH, 2)[: SAMPLES // 2], said(LOW, 3) + said(HIGH, 4)]
    for together, window in zip(detector.hear(windows), windows, strict=True):
        assert together.shape == (len(window) // FRAME,)
        np.testing.assert_array_equal(together, detector.hear([window])[0])


@pytest.mark.parametrize("level", [0.0, 1e-5, 0.01])
def test_where_nobody_speaks_nothing_overlaps(detector: OverlapDetector, level: float) -> None:
    hiss = np.random.default_rng(1).standard_normal(SAMPLES, np.float32) * np.float32(level)
    (counts,) = detector.count([hiss])
    assert counts[:, 2].max() < 0.2
    assert counts[:, 0].mean() > 0.8


@pytest.mark.parametrize("gain", [0.03, 10.0])
def test_the_level_does_not_matter(detector: OverlapDetector, gain: float) -> None:
    both = said(LOW, 5) + said(HIGH, 6)
    (as_said,), (louder,) = detector.hear([both]), detector.hear([both * np.float32(gain)])
    np.testing.assert_allclose(louder, as_said, atol=0.02)


def test_probabilities_of_a_frame_sum_to_one(detector: OverlapDetector) -> None:
    (counts,) = detector.count([said(LOW, 7)])
    assert counts.shape == (WINDOW, 3)
    np.testing.assert_allclose(counts.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("samples", [0, FRAME - 1, FRAME, 5 * FRAME + 1])
def test_whole_frames_are_answered(detector: OverlapDetector, samples: int) -> None:
    audio = said(LOW, 8)[:samples]
    assert features(audio).shape == (samples // FRAME, SIZE)
    (heard,) = detector.hear([audio])
    assert heard.shape == (samples // FRAME,)


def test_no_windows_no_answers(detector: OverlapDetector) -> None:
    assert detector.hear([]) == []


def test_features_hear_a_tone_where_it_is() -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(SAMPLES) / 16_000).astype(np.float32)
    heard = features(tone)
    partials = heard[WINDOW // 2, : SIZE - 96]
    assert int(partials.argmax()) == 500 // 15.625 - 4
    assert heard.min() >= FLOOR


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0, 2.5, 3.0, 30.0])
def test_a_diariser_asks_about_every_frame(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    diariser = LocalDiariser()
    asked = Mock(side_effect=lambda windows: [np.ones(len(window) // FRAME, np.float32) for window in windows])
    monkeypatch.setattr(diariser._overlap, "hear", asked)
    audio = np.zeros(round((3 + seconds) * SAMPLE_RATE), np.float32)
    together = diariser._together(audio, 3 * SAMPLE_RATE)
    assert together[: round(seconds * SAMPLE_RATE) // FRAME].all()
    (windows,) = asked.call_args.args
    assert (len(windows) == 1) == (seconds <= 2.5), "of four hops, and a unit before them, one window is enough"
