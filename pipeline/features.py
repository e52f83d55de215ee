"""What the emotion model is given of a fragment: mel frames for its network, and functionals.

Training and serving call the same `features_of`, so a model never meets features made another way than those it
learnt from. `SETTINGS` is written beside the weights, and `EmotionModel.load` refuses weights that were trained with
others. Nothing here depends on how loud the recording is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline import functionals
from pipeline.functionals import FFT, HOP, WINDOW, Spectrogram
from pipeline.mel import mel_bank
from pipeline.timeline import SAMPLE_RATE

Array = NDArray[np.float32]

MEL_BANDS: Final = 64  # narrow enough, below 1 kHz, to part the harmonics of a high voice
STRIDE: Final = 2  # spectra to a frame, so a frame is 25 ms and a syllable spans eight or so
LOWEST: Final = 50.0  # Hz; below are doors and footsteps
DYNAMIC_RANGE: Final = 60.0  # dB below the loudest band; what is quieter is the room, not the speaker
SPREAD: Final = 15.0  # dB that become 1, which is about how far the bands of speech spread

SETTINGS: Final[dict[str, float]] = {
    "sample_rate": SAMPLE_RATE,
    "window": WINDOW,
    "hop": HOP,
    "fft": FFT,
    "mel_bands": MEL_BANDS,
    "stride": STRIDE,
    "dynamic_range": DYNAMIC_RANGE,
    "spread": SPREAD,
    "lowest": LOWEST,
    "functionals": functionals.COUNT,
    "functionals_version": functionals.VERSION,
}

_MEL: Final = mel_bank(FFT, MEL_BANDS, LOWEST)


@dataclass(frozen=True, slots=True)
class Features:
    """A fragment as the emotion model takes it."""

    frames: Array  # (frames, MEL_BANDS), in units of SPREAD about the fragment's mean
    functionals: Array  # (functionals.COUNT,)


def frames_in(samples: int) -> int:
    """The number of frames that `features_of` makes of `samples` samples."""
    return (1 + samples // HOP) // STRIDE


def features_of(audio: Array) -> Features:
    """The features of float32 (n,), mono at 16 kHz, at any level; 0.5 s or more."""
    spectrogram = Spectrogram.of(audio)
    return Features(level_free(mel_decibels(spectrogram)), functionals.functionals(spectrogram))


def mel_decibels(spectrogram: Spectrogram) -> Array:
    """The power in mel bands, `STRIDE` spectra averaged, in dB: (frames, MEL_BANDS)."""
    power = spectrogram.power @ _MEL
    frames = len(power) // STRIDE
    power = power[: frames * STRIDE].reshape(frames, STRIDE, MEL_BANDS).mean(axis=1)
    return functionals.decibels_of(power)


def level_free(decibels: Array) -> Array:
    """Frames of a fragment in dB with its level taken out, in units of SPREAD: (frames, MEL_BANDS)."""
    heard = np.maximum(decibels, decibels.max() - DYNAMIC_RANGE)
    return np.asarray((heard - heard.mean()) / SPREAD, np.float32)
