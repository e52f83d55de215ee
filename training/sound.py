"""From a clip on disk to the sound that a model hears: speech cut out, cut up, and moved into a room."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import scipy.signal
import soundfile

from pipeline.timeline import SAMPLE_RATE
from training.config import TrainingConfig

SPEECH_RANGE = 30.0  # dB below a clip's peak at which its speech begins and ends
REVERBERATION = (0.15, 0.4)  # s for a room's echo to fall by 60 dB: from a furnished study to a meeting room
DIRECT_TO_REVERBERANT = (2.0, 12.0)  # dB: from across a table to a headset


def speech(path: Path, margin: float) -> np.ndarray:
    """The speech in an audio file and `margin` seconds either side of it: float32 (n,), 16 kHz mono."""
    recorded, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = librosa.resample(recorded.mean(axis=1), orig_sr=rate, target_sr=SAMPLE_RATE)
    _, (start, end) = librosa.effects.trim(audio, top_db=SPEECH_RANGE)
    pad = round(margin * SAMPLE_RATE)
    return audio[max(0, start - pad) : end + pad]


def at_speed(audio: np.ndarray, speed: float) -> np.ndarray:
    """The audio played `speed` times as fast, which raises its pitch by as much."""
    return librosa.resample(audio, orig_sr=SAMPLE_RATE * speed, target_sr=SAMPLE_RATE) if speed != 1 else audio


def random_cut(audio: np.ndarray, config: TrainingConfig, rng: np.random.Generator) -> np.ndarray:
    """A stretch of random length and place; of audio shorter than that length, all of it."""
    samples = round(rng.uniform(config.shortest, config.longest) * SAMPLE_RATE)
    start = rng.integers(max(1, len(audio) - samples + 1))
    return audio[start : start + samples]


def in_room(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The audio as heard across a small room: an exponentially decaying tail of noise after the direct sound.

    (A statistical room, as in Polack's model; no image sources.) The result is as long as `audio`.
    """
    seconds = rng.uniform(*REVERBERATION)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    tail[: round(0.002 * SAMPLE_RATE)] = 0  # the first reflection comes half a metre of detour after the direct sound
    tail *= 10 ** (-rng.uniform(*DIRECT_TO_REVERBERANT) / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    heard: np.ndarray = scipy.signal.fftconvolve(audio, tail)[: len(audio)]
    return heard.astype(np.float32)


def over_noise(audio: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """The audio over noise whose spectrum falls like a room's (1/f in power), `decibels` below the speech."""
    spectrum = np.fft.rfft(rng.standard_normal(len(audio)))
    spectrum /= np.sqrt(np.arange(len(spectrum)) + 1.0)
    noise = np.fft.irfft(spectrum, len(audio))
    noise *= np.sqrt(np.mean(audio**2) / np.mean(noise**2)) * 10 ** (-decibels / 20)
    return (audio + noise).astype(np.float32)


def varied(audio: np.ndarray, config: TrainingConfig, rng: np.random.Generator) -> np.ndarray:
    """One training cut of a clip's speech: another speed, perhaps a room, a random stretch, perhaps noise."""
    audio = at_speed(audio, rng.choice(config.speeds))
    if rng.random() < config.room_share:
        audio = in_room(audio, rng)
    audio = random_cut(audio, config, rng)
    if rng.random() < config.noise_share:
        audio = over_noise(audio, rng.uniform(*config.noise), rng)
    return audio
