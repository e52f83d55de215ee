"""What the emotion model is given of a fragment: mel-frequency cepstral coefficients.

Training and serving call the same `mfcc`, so a model never meets features made another way than those it
learnt from. `SETTINGS` is written beside the weights, and `EmotionModel.load` refuses weights that were
trained with others.
"""

from __future__ import annotations

import librosa
import numpy as np

from pipeline.timeline import SAMPLE_RATE

WINDOW = 1024  # samples, 64 ms: five periods of a low voice, so that its harmonics part
HOP = 384  # samples, 24 ms: a syllable spans eight frames or so; 16 ms heard no better and cost half as much again
FFT = WINDOW
MEL_BANDS = 64  # narrow enough, below 1 kHz, to part the harmonics of a high voice
COEFFICIENTS = 40  # the upper ones carry pitch, which the usual 13 of speech recognition smooth away on purpose
DYNAMIC_RANGE = 60.0  # dB below the loudest band; what is quieter is the room, not the speaker

SETTINGS: dict[str, float] = {
    "sample_rate": SAMPLE_RATE,
    "window": WINDOW,
    "hop": HOP,
    "fft": FFT,
    "mel_bands": MEL_BANDS,
    "coefficients": COEFFICIENTS,
    "dynamic_range": DYNAMIC_RANGE,
}


def frames_in(samples: int) -> int:
    """The number of frames that `mfcc` makes of `samples` samples."""
    return 1 + samples // HOP


def mfcc(audio: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients that do not depend on how loud the recording is.

    `audio`: float32 (n,), mono at 16 kHz, any level. Returns float32 (frames_in(n), COEFFICIENTS), in
    decibels times the orthonormal cosine transform's scale.

    The peak of the waveform is brought to 1 and decibels count from the fragment's loudest band. The first
    coefficient, which is the loudness of each frame, then has its mean over the fragment taken out: it keeps
    how loudness moves while someone speaks, and loses how far the microphone stood.
    """
    audio = np.asarray(audio, dtype=np.float32)
    peak = np.abs(audio).max(initial=0.0)
    power = librosa.feature.melspectrogram(
        y=audio / peak if peak > 0 else audio,
        sr=SAMPLE_RATE,
        n_fft=FFT,
        win_length=WINDOW,
        hop_length=HOP,
        n_mels=MEL_BANDS,
    )
    decibels = librosa.power_to_db(power, ref=np.max, top_db=DYNAMIC_RANGE)
    coefficients = librosa.feature.mfcc(S=decibels, n_mfcc=COEFFICIENTS).T
    coefficients[:, 0] -= coefficients[:, 0].mean()
    return np.ascontiguousarray(coefficients, dtype=np.float32)
