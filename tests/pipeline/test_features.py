from __future__ import annotations

import numpy as np
import pytest

from pipeline.features import COEFFICIENTS, frames_in, mfcc
from pipeline.timeline import SAMPLE_RATE


@pytest.fixture
def voice() -> np.ndarray:
    """One second of a buzz at 150 Hz that swells and fades, over a little noise: float32 (16000,)."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    buzz = sum(np.sin(2 * np.pi * 150 * harmonic * time) / harmonic for harmonic in range(1, 20))
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    return (0.1 * buzz * np.sin(np.pi * time) + 0.001 * noise).astype(np.float32)


def test_a_row_of_coefficients_for_every_hop(voice: np.ndarray) -> None:
    coefficients = mfcc(voice)
    assert coefficients.shape == (frames_in(len(voice)), COEFFICIENTS) == (42, 40)
    assert coefficients.dtype == np.float32


@pytest.mark.parametrize("gain", [1e-3, 0.1, 10.0])
def test_level_makes_no_difference(voice: np.ndarray, gain: float) -> None:
    np.testing.assert_allclose(mfcc(np.float32(gain) * voice), mfcc(voice), atol=1e-2)


def test_loudness_within_a_fragment_is_kept(voice: np.ndarray) -> None:
    loudness = mfcc(voice)[:, 0]
    assert loudness[21] > loudness[4] > loudness[0]
    assert loudness.mean() == pytest.approx(0, abs=1e-3)


def test_pitch_is_heard(voice: np.ndarray) -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    higher = sum(np.sin(2 * np.pi * 200 * harmonic * time) / harmonic for harmonic in range(1, 20))
    assert np.abs(mfcc(higher.astype(np.float32)) - mfcc(voice)).max() > 10


@pytest.mark.parametrize("samples", [0, 1, SAMPLE_RATE // 2])
def test_silence_and_scraps_are_finite(samples: int) -> None:
    assert np.isfinite(mfcc(np.zeros(samples, np.float32))).all()
