"""The filter banks are those that every model here was trained with."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pipeline import features, functionals
from pipeline.mel import frequencies, kaldi_fbank, mel_bank, power_spectra
from pipeline.timeline import SAMPLE_RATE

USED = [
    (functionals.FFT, functionals.MEL_BANDS, 50.0),
    (features.FFT, features.MEL_BANDS, features.LOWEST),
    (512, 24, 1500.0),
]


@pytest.mark.parametrize(("fft", "bands", "lowest"), USED)
def test_a_bank_is_librosas_to_the_last_bit(fft: int, bands: int, lowest: float) -> None:
    import librosa

    theirs = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=fft, n_mels=bands, fmin=lowest).T
    assert np.array_equal(mel_bank(fft, bands, lowest), theirs)
    assert mel_bank(fft, bands, lowest).dtype == theirs.dtype


def test_so_are_its_corners() -> None:
    import librosa

    theirs = librosa.mel_frequencies(n_mels=50, fmin=60, fmax=SAMPLE_RATE / 2)
    np.testing.assert_array_equal(frequencies(48, 60.0), theirs)


@pytest.mark.parametrize("samples", [400, 559, 560, 19_200])
def test_log_mel_is_kaldis(samples: int) -> None:
    import torch
    from torchaudio.compliance import kaldi

    rng = np.random.default_rng(samples)
    audio = (rng.standard_normal(samples) * np.linspace(0, 0.3, samples)).astype(np.float32)  # silence comes first
    theirs = kaldi.fbank(torch.from_numpy(audio)[None] * 32_768, num_mel_bins=80, dither=0.0).numpy()
    ours = kaldi_fbank(audio, 80)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_spectra_of_double_precision_are_those_of_single() -> None:
    slices = np.random.default_rng(0).normal(size=(3, 400))
    power = np.abs(np.fft.rfft(slices * np.hanning(400), 512)) ** 2
    for kind in (np.float32, np.float64):
        told = power_spectra(slices.astype(kind), np.hanning(400).astype(kind), 512)
        assert told.dtype == np.float32
        np.testing.assert_allclose(told, power, rtol=1e-3, atol=1e-6 * power.max())


def test_no_process_of_the_service_pays_for_what_it_has_no_need_of() -> None:
    costly = {"numba", "librosa", "scipy.signal", "scipy.ndimage", "scipy.optimize"}
    code = f"import sys, deployments.app, pipeline.features; print({costly} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()", done.stdout
