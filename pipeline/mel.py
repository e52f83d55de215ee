"""Power spectra, and mel filter banks: triangles that share out power as the ear does, narrow below 1 kHz.

The banks are `librosa.filters.mel` to the last bit, and Kaldi's, which tests see to. Importing the former takes a
second and 160 MB in every process, for numba, and the latter torch, which a few triangles have no need of.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.timeline import SAMPLE_RATE

Array = NDArray[np.float32]

# Slaney 1998, "Auditory Toolbox", technical report 1998-010: linear up to a corner, logarithmic from there on.
LINEAR: Final = 200.0 / 3  # Hz a mel
CORNER: Final = 1000.0  # Hz
LOG_STEP: Final = np.log(6.4) / 27.0

KALDI_FRAME: Final = 400  # samples
KALDI_STEP: Final = 160  # samples
KALDI_FFT: Final = 512

_POVEY: Final = (np.hanning(KALDI_FRAME) ** 0.85).astype(np.float32)


def power_spectra(slices: Array, taper: Array, fft: int | None = None) -> Array:
    """Of tapered slices (frames, samples), filled up with silence to `fft` points: (frames, fft // 2 + 1)."""
    spectra = scipy.fft.rfft(slices * taper, fft)  # numpy's takes eight times as long in single precision
    parts = np.asarray(spectra, np.complex64).view(np.float32)
    np.square(parts, out=parts)
    return np.asarray(parts[:, 0::2] + parts[:, 1::2])


def frequencies(bands: int, lowest: float) -> NDArray[np.float64]:
    """Where the corners of so many triangles lie, in Hz, evenly spaced in mel: (bands + 2,)."""
    corner = CORNER / LINEAR
    highest = corner + np.log(SAMPLE_RATE / 2 / CORNER) / LOG_STEP
    first = lowest / LINEAR if lowest < CORNER else corner + np.log(lowest / CORNER) / LOG_STEP
    mels = np.linspace(first, highest, bands + 2)
    hertz = LINEAR * mels
    above = mels >= corner
    hertz[above] = CORNER * np.exp(LOG_STEP * (mels[above] - corner))
    return hertz


def mel_bank(fft: int, bands: int, lowest: float = 0.0) -> Array:
    """A matrix that takes power spectra (frames, fft // 2 + 1) at 16 kHz to mel bands: (fft // 2 + 1, bands).

    Each triangle has an area of 1, so that noise of one density fills all bands alike. `lowest`: Hz.
    """
    corners = frequencies(bands, lowest)
    widths = np.diff(corners)
    ramps = np.subtract.outer(corners, np.fft.rfftfreq(fft, 1 / SAMPLE_RATE))
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    bank = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    bank *= (2 / (corners[2:] - corners[:-2]))[:, None]
    return np.asarray(bank.T)


def kaldi_fbank(audio: Array, bands: int) -> Array:
    """Log mel (frames, bands) of samples (n,) in [-1, 1] at 16 kHz, as Kaldi works it out without dither.

    A frame of 25 ms every 10 ms, none of which reaches beyond the ends; natural logarithm of power in 16-bit steps.
    (Povey et al. 2011, "The Kaldi speech recognition toolkit"; its defaults.)
    """
    slices = np.lib.stride_tricks.sliding_window_view(audio * np.float32(32_768), KALDI_FRAME)[::KALDI_STEP]
    slices = slices - slices.mean(axis=1, keepdims=True)
    before = np.concatenate([slices[:, :1], slices[:, :-1]], axis=1)
    power = power_spectra(slices - np.float32(0.97) * before, _POVEY, KALDI_FFT)
    mel = (_kaldi_bank(bands) @ power.T).T
    return np.asarray(np.log(np.maximum(mel, np.finfo(np.float32).eps)))


@cache
def _kaldi_bank(bands: int) -> csr_array:
    """Triangles of height 1 that are straight in mel, from 20 Hz to half the sample rate: (bands, fft // 2 + 1).

    Nearly all of it is 0; and for a whole matrix of that size NumPy would wake threads, which take longer than it.
    """
    mel = 1127 * np.log(1 + np.fft.rfftfreq(KALDI_FFT, 1 / SAMPLE_RATE) / 700)
    corners = np.linspace(1127 * np.log(1 + 20 / 700), mel[-1], bands + 2)
    ramps = np.subtract.outer(mel, corners) / np.diff(corners)[0]
    return csr_array(np.maximum(0, np.minimum(ramps[:, :-2], -ramps[:, 2:])).T.astype(np.float32))
