"""Scenes of entangled talk, and how many speak in each frame of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from pipeline.overlap import FRAME, WINDOW, features
from pipeline.timeline import SAMPLE_RATE
from training.augment import band_limited, equalised, noise, over_noise, through_telephone
from training.overlap.recipe import CLASSES, Recipe
from training.simulate import read_recordings
from training.sound import speech

Audio = NDArray[np.float32]

STEP: Final = SAMPLE_RATE // 100  # samples between two steps of what a speaker does: 10 ms


class Clip(NamedTuple):
    """One recording: float32 (n,) whose speech has an RMS of 1, and whether it is speech, a value each STEP."""

    audio: Audio
    spoken: NDArray[np.bool_]


Voices = Mapping[str, Sequence[Clip]]


def read_voices(folder: Path, how: Recipe) -> dict[str, list[Clip]]:
    """All clips under a folder, by speaker."""
    return {
        speaker: [clip for one in recordings if (clip := _clip(speech(one.path, margin=0.1), how)) is not None]
        for speaker, recordings in read_recordings(folder).items()
    }


def _clip(audio: Audio, how: Recipe) -> Clip | None:
    """A recording with its speech marked, or None where there is none."""
    steps = len(audio) // STEP
    power = np.array([np.mean(audio[max(0, i * STEP - STEP) : (i + 2) * STEP] ** 2) for i in range(steps)])
    loud = power > np.quantile(power, 0.97) * 10 ** (-how.range / 10)
    spoken = binary_closing(np.pad(loud, 50), np.ones(round(how.closure * 100)))[50:-50]
    spoken = binary_opening(spoken, np.ones(round(how.click * 100)))
    if not spoken.any():
        return None
    return Clip(audio / np.float32(np.sqrt(power[spoken].mean())), spoken)


def scene(corpora: Sequence[Voices], seed: tuple[int, ...], how: Recipe) -> tuple[Audio, NDArray[np.int64]]:
    """Some talk as a microphone hears it: float32 (n,), and how many speak, two at most, in each frame: (frames,)."""
    rng = np.random.default_rng(seed)
    samples = round(how.seconds * SAMPLE_RATE)
    count = 1 + rng.choice(len(how.speakers), p=how.speakers)
    tracks = np.zeros((count, samples), np.float32)
    spoken = np.zeros((count, samples // STEP), bool)
    chosen: list[Sequence[Clip]] = []
    for _ in range(count):
        voices = corpora[1] if rng.random() < how.actors else corpora[0]
        chosen.append(voices[str(rng.choice(list(voices)))])
    speeds = rng.choice(how.speeds, count)

    def say(speaker: int, start: float, seconds: float) -> float:
        """Let a speaker say something of about this length; returns when it ends."""
        clip = _at_speed(_excerpt(chosen[speaker], seconds, rng), int(speeds[speaker]))
        first = round(start * 100)
        steps = min(len(clip.spoken), spoken.shape[1] - first)
        if steps > 0 and not spoken[speaker, first : first + steps].any():  # nobody talks over themselves
            tracks[speaker, first * STEP : (first + steps) * STEP] += clip.audio[: steps * STEP]
            spoken[speaker, first : first + steps] = clip.spoken[:steps]
        return start + len(clip.spoken) / 100

    last, start, end = 0, 0.0, rng.uniform(0, 1.5)
    while end < how.seconds:
        speaker = (last + int(rng.integers(1, max(2, count)))) % count
        if speaker != last and rng.random() < how.overlaps:
            start = max(start, end - rng.uniform(*how.overlap), 0.0)
        else:
            start = end + rng.uniform(*how.gap)
        end = max(end, say(speaker, start, float(np.exp(rng.uniform(*np.log(how.turn))))))
        if count > 1 and rng.random() < how.aside:
            somebody = (speaker + int(rng.integers(1, count))) % count
            say(somebody, rng.uniform(start, end), rng.uniform(0.25, 1.0))
        last = speaker
    heard = _in_place(tracks, spoken, how, rng)
    counts = np.sum([_in_frames(one) for one in spoken], axis=0, dtype=np.int64)
    return heard, np.minimum(counts, CLASSES - 1)


def _excerpt(clips: Sequence[Clip], seconds: float, rng: Generator) -> Clip:
    """About `seconds` of one of the clips, from pause to pause where there is one."""
    clip = clips[int(rng.integers(len(clips)))]
    steps = min(round(seconds * 100), len(clip.spoken))
    first = int(rng.integers(len(clip.spoken) - steps + 1))
    first = _quietest(clip.audio, first)
    last = _quietest(clip.audio, first + steps)
    audio = clip.audio[first * STEP : last * STEP].copy()
    ramp = np.minimum(1, np.arange(len(audio), dtype=np.float32) / 160)
    return Clip(audio * ramp * ramp[::-1] * np.float32(10 ** (rng.uniform(-2, 2) / 20)), clip.spoken[first:last])


def _quietest(audio: Audio, step: int) -> int:
    """The step near this one, at most 150 ms away, where it is quietest; both ends of a clip are quiet."""
    first, last = max(0, step - 15), min(len(audio) // STEP, step + 15)
    if first == 0 or last == len(audio) // STEP:
        return 0 if first == 0 else last
    power = (audio[first * STEP : last * STEP] ** 2).reshape(-1, STEP).mean(axis=1)
    return first + int(np.convolve(power, np.ones(5), "same").argmin())


def _at_speed(clip: Clip, percent: int) -> Clip:
    """The clip played that much faster, its pitch raised by as much."""
    if percent == 100:
        return clip
    audio = np.asarray(resample_poly(clip.audio, 100, percent), np.float32)
    steps = len(audio) // STEP
    return Clip(audio, clip.spoken[np.minimum(np.arange(steps) * percent // 100, len(clip.spoken) - 1)])


def _in_frames(spoken: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Values each STEP to values each FRAME: whether it holds for the larger part of it."""
    frames = len(spoken) * STEP // FRAME
    share = np.concatenate([[0.0], np.cumsum(spoken)])
    edges = np.interp(np.arange(frames + 1) * FRAME / STEP, np.arange(len(share)), share)
    return np.asarray(np.diff(edges) >= 0.5 * FRAME / STEP)


def _in_place(tracks: Audio, spoken: NDArray[np.bool_], how: Recipe, rng: Generator) -> Audio:
    """What one microphone makes of speakers (speakers, n) who speak in some of the steps (speakers, n / STEP): (n,)."""
    samples = tracks.shape[1]
    if rng.random() >= how.dry:
        seconds, direct = rng.uniform(*how.reverberation), rng.uniform(*how.direct)
        echoes = [_echo(seconds, direct + rng.uniform(-how.apart, how.apart), rng) for _ in tracks]
        tracks = np.stack([fftconvolve(one, echo)[:samples] for one, echo in zip(tracks, echoes, strict=True)])
    power = np.sum(tracks**2, axis=1) / np.maximum(STEP * np.sum(spoken, axis=1), 1)
    gains = 10 ** (rng.uniform(*how.gain, len(tracks)) / 20) / np.sqrt(np.maximum(power, 1e-6))
    mix = np.asarray(gains @ tracks, np.float32)
    mix *= np.float32(10 ** (rng.uniform(-40, -20) / 20))
    if rng.random() < how.knocks:
        mix += _knocks(samples, rng) * np.float32(np.sqrt(np.mean(mix**2)))
    if rng.random() >= how.silent:
        mix = over_noise(mix, rng.uniform(*how.noise), rng)
    if rng.random() < how.equalised:
        mix = equalised(mix, rng)
    if rng.random() < how.telephone:
        mix = through_telephone(mix)
    elif rng.random() < how.narrow:
        mix = band_limited(mix, rng)
    return mix


def _echo(seconds: float, direct: float, rng: Generator) -> Audio:
    """A room's answer to a click: the direct sound, a few reflections, and an echo whose treble dies first.

    seconds: until the bass has fallen by 60 dB. direct: dB of the direct sound over all the rest.
    """
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    dull = sosfilt(butter(1, rng.uniform(800, 3000), fs=SAMPLE_RATE, output="sos"), rng.standard_normal(len(time)))
    bright = rng.standard_normal(len(time)) * 10 ** (-3 * time / (seconds * rng.uniform(0.3, 0.8)))
    tail = 2 * dull * 10 ** (-3 * time / seconds) + bright
    for _ in range(rng.integers(3, 12)):
        delay = rng.uniform(0.002, 0.04)
        tail[min(len(tail) - 1, round(delay * SAMPLE_RATE))] += (
            rng.choice((-1, 1)) * 30 * rng.random() * 10 ** (-20 * delay)
        )
    tail[: round(rng.uniform(0.001, 0.006) * SAMPLE_RATE)] = 0
    tail *= 10 ** (-direct / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(tail, np.float32)


def _knocks(samples: int, rng: Generator) -> Audio:
    """Short noises that no mouth makes, some louder than the talk: float32 (samples,)."""
    made = np.zeros(samples, np.float32)
    for _ in range(rng.integers(2, 16)):
        fall = np.exp(rng.uniform(*np.log((0.003, 0.15))))  # s to 1/e
        size = round(5 * fall * SAMPLE_RATE)
        sound = noise(size + 64, rng)[:size] * np.exp(-np.arange(size) / (fall * SAMPLE_RATE))
        if rng.random() < 0.5:
            centre = np.exp(rng.uniform(*np.log((150, 4000))))
            band = butter(1, (centre / 1.3, centre * 1.3), "bandpass", fs=SAMPLE_RATE, output="sos")
            sound = 3 * sosfilt(band, sound)
        first = int(rng.integers(samples))
        made[first : first + size] += (sound * 10 ** (rng.uniform(-10, 15) / 20))[: samples - first]
    return made


def examples(
    corpora: Sequence[Voices], scenes: int, seed: int, how: Recipe
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Windows of scenes and of noise: features (windows, WINDOW, SIZE), and how many speak, (windows, WINDOW)."""
    heard, counts = [], []
    for number in range(scenes):
        audio, count = scene(corpora, (seed, number), how)
        for first in range(0, len(count) - WINDOW + 1, WINDOW):
            heard.append(features(audio[first * FRAME : (first + WINDOW) * FRAME]).astype(np.float16))
            counts.append(count[first : first + WINDOW])
    rng = np.random.default_rng((seed, scenes))
    for number in range(round(how.nobody * len(heard))):
        audio = noise(WINDOW * FRAME, rng)
        if number % 3 == 0:
            audio += 2 * _knocks(len(audio), rng)
        heard.append(features(audio * np.float32(10 ** (rng.uniform(-70, -30) / 20))).astype(np.float16))
        counts.append(np.zeros(WINDOW, np.int64))
    return np.stack(heard), np.stack(counts)
