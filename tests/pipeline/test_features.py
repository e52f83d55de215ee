from __future__ import annotations

import numpy as np
import pytest

from pipeline.features import DYNAMIC_RANGE, MEL_BANDS, SPREAD, features_of, frames_in, level_free, mel_decibels
from pipeline.functionals import COUNT, FFT, Spectrogram
from pipeline.functionals import functionals as functionals_of
from pipeline.timeline import SAMPLE_RATE


def buzz(pitch: float, seconds: float = 1.0) -> np.ndarray:
    """A buzz that swells and fades, over a little noise: float32 (seconds * 16000,)."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    harmonics = sum(np.sin(2 * np.pi * pitch * harmonic * time) / harmonic for harmonic in range(1, 20))
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.1 * harmonics * np.sin(np.pi * time / seconds) + 0.001 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return buzz(150)


@pytest.mark.parametrize(("seconds", "frames"), [(0.5, 20), (1.0, 40), (1.01, 40), (3.0, 120)])
def test_a_frame_every_25_milliseconds(seconds: float, frames: int) -> None:
    heard = features_of(buzz(150, seconds))
    assert heard.frames.shape == (frames_in(round(seconds * SAMPLE_RATE)), MEL_BANDS) == (frames, 64)
    assert heard.frames.dtype == np.float32


def test_functionals_are_those_of_the_same_sound(voice: np.ndarray) -> None:
    numbers = features_of(voice).functionals
    assert numbers.shape == (COUNT,)
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, functionals_of(Spectrogram.of(voice)))


@pytest.mark.parametrize("gain", [1e-3, 0.1, 10.0])
def test_level_makes_no_difference(voice: np.ndarray, gain: float) -> None:
    scaled, heard = features_of(np.float32(gain) * voice), features_of(voice)
    np.testing.assert_allclose(scaled.frames, heard.frames, atol=1e-3)
    np.testing.assert_allclose(scaled.functionals, heard.functionals, atol=1e-3)


def test_frames_are_decibels_about_their_mean_with_a_floor() -> None:
    decibels = np.array([[-10, -40], [-110, -70]], np.float32)
    np.testing.assert_allclose(level_free(decibels), np.array([[37.5, 7.5], [-22.5, -22.5]]) / SPREAD)


def test_the_mean_is_0_and_no_frame_is_below_the_floor(voice: np.ndarray) -> None:
    assert features_of(voice).frames.mean() == pytest.approx(0, abs=1e-5)
    frames = features_of(np.concatenate([voice, np.zeros(SAMPLE_RATE, np.float32)])).frames
    assert frames.mean() == pytest.approx(0, abs=1e-5)
    assert np.ptp(frames) == pytest.approx(DYNAMIC_RANGE / SPREAD)
    np.testing.assert_array_equal(frames[-20:], np.full((20, MEL_BANDS), frames.min()))


def test_a_frame_is_the_mean_power_of_two_spectra_and_a_last_one_alone_is_left_out() -> None:
    soft, loud = np.full((2, FFT // 2 + 1), [[1], [3]], np.float32)
    frames = mel_decibels(Spectrogram(np.stack([soft, loud, loud, loud, soft])))
    assert frames.shape == (2, MEL_BANDS)
    np.testing.assert_allclose(frames[1] - frames[0], 10 * np.log10(3 / 2), atol=1e-4)


def test_loudness_within_a_fragment_is_kept(voice: np.ndarray) -> None:
    loudness = features_of(voice).frames.mean(axis=1)
    assert loudness[20] > loudness[4] > loudness[0]


def test_pitch_is_heard(voice: np.ndarray) -> None:
    assert np.abs(features_of(buzz(200)).frames - features_of(voice).frames).max() > 0.5


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_silence_is_finite(seconds: float) -> None:
    heard = features_of(np.zeros(round(seconds * SAMPLE_RATE), np.float32))
    np.testing.assert_array_equal(heard.frames, 0)
    assert np.isfinite(heard.functionals).all()
