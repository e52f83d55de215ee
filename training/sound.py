"""From a clip on disk to the sound that a model hears. What may happen to it then is in `training.augment`."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import soundfile

from pipeline.timeline import SAMPLE_RATE

SPEECH_RANGE = 30.0  # dB below a clip's peak at which its speech begins and ends


def speech(path: Path, margin: float) -> np.ndarray:
    """The speech in an audio file and `margin` seconds either side of it: float32 (n,), 16 kHz mono.

    Raises ValueError for what is no audio.
    """
    try:
        recorded, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} is no recording that can be read: {error}") from error
    audio = librosa.resample(recorded.mean(axis=1), orig_sr=rate, target_sr=SAMPLE_RATE)
    _, (start, end) = librosa.effects.trim(audio, top_db=SPEECH_RANGE)
    pad = round(margin * SAMPLE_RATE)
    return audio[max(0, start - pad) : end + pad]
