"""Power spectra, and mel filter banks: triangles that share out power as the ear does, narrow below 1 kHz.

The banks are `librosa.filters.mel` to the last bit, which a test sees to. Importing that takes a second and 160 MB in
every process, for numba, which a few triangles have no need of.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pipeline.timeline import SAMPLE_RATE

Array = NDArray[np.float32]

# Slaney 1998, "Auditory Toolbox", technical report 1998-010: linear up to a corner, logarithmic from there on.
LINEAR: Final = 200.0 / 3  # Hz a mel
CORNER: Final = 1000.0  # Hz
LOG_STEP: Final = np.log(6.4) / 27.0


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
