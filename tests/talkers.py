"""Voices that the project makes itself, so that any machine can prove the core without recorded speech.

Source and filter (Fant 1960, Klatt 1980): glottal pulses and noise excite a chain of formants that moves
through syllables. It says nothing in any language, but the voice activity network takes it for speech, and
the speaker encoder keeps the voices apart (`test_talkers.py` holds both). One seed, one sound.

    audio, said = conversation((LOW, HIGH), small_talk(talkers=2, seconds=30, seed=1), seed=1)
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from pipeline.timeline import SAMPLE_RATE

Audio = NDArray[np.float32]
Samples = NDArray[np.float64]
Item = TypeVar("Item")

LEVEL = 0.07  # RMS of what a talker says: -23 dBFS, an ordinary recording level
ROOM_LEVEL = 0.0003  # RMS of the noise under a conversation: -70 dBFS, a quiet room
STEP = 64  # samples between two frames of the tracks: 4 ms
RESPONSE = 512  # samples of the response to one pulse: 32 ms, in which a bandwidth of 60 Hz decays by 52 dB
GRAIN = 256  # samples of one grain of noise
UPPER_FORMANTS = (3500.0, 4500.0, 5500.0, 6500.0, 7500.0)  # Hz, of a tract of 17.5 cm; they hardly move


@dataclass(frozen=True, slots=True)
class Phone:
    """One sound: where it takes the tract and what excites it.

    `voice`, `breath` and `hiss` are levels (RMS), as multiples of a vowel's.
    """

    formants: tuple[float, float, float]  # Hz, in a tract of 17.5 cm
    seconds: float
    voice: float = 1.0
    breath: float = 0.0  # noise at the glottis, heard through the formants
    hiss: float = 0.0  # noise at the teeth, heard in a band of its own
    centre: float = 5000.0  # Hz, of that band
    width: float = 2500.0  # Hz


# Few sounds, so that a second and a half of one talker is like the next: what is said sways a voiceprint.
# The vowels are those of Peterson and Barney 1952, men.
VOWELS = (
    Phone((270, 2290, 3010), 0.11),  # beet
    Phone((530, 1840, 2480), 0.12),  # bet
    Phone((730, 1090, 2440), 0.14),  # father
    Phone((570, 840, 2410), 0.13),  # bought
    Phone((300, 870, 2240), 0.12),  # boot
)
SONORANTS = (
    (Phone((260, 1100, 2200), 0.07, voice=0.45),),  # m
    (Phone((260, 1550, 2600), 0.06, voice=0.45),),  # n
    (Phone((360, 1150, 2700), 0.06, voice=0.6),),  # l
)
LABIAL, ALVEOLAR, VELAR = (300, 900, 2200), (300, 1750, 2650), (300, 1950, 2350)
FRICATIVES = (
    (Phone(ALVEOLAR, 0.09, voice=0, hiss=0.2, centre=6300, width=2200),),  # s
    (Phone(ALVEOLAR, 0.09, voice=0, hiss=0.2, centre=3400, width=1700),),  # sh
)
STOPS = tuple(
    (
        Phone(place, 0.05, voice=0),
        Phone(place, 0.012, voice=0.1, hiss=0.25, centre=centre),
        Phone(place, 0.03, voice=0.2, breath=0.4),
    )
    for place, centre in ((LABIAL, 1200), (ALVEOLAR, 4500), (VELAR, 2100))
)
ONSETS: tuple[tuple[Phone, ...], ...] = SONORANTS + FRICATIVES + STOPS
CODAS: tuple[tuple[Phone, ...], ...] = SONORANTS[:2]


@dataclass(frozen=True, slots=True)
class Talker:
    """A voice. Two talkers differ in what makes two people differ: larynx, tract and habit."""

    name: str
    pitch: float  # Hz, its median
    tract: float  # formants as multiples of those of a tract of 17.5 cm; a shorter tract has higher ones
    liveliness: float = 2.0  # semitones, about the standard deviation of the pitch
    tilt: float = 2500.0  # Hz above which the voice falls off faster; lower is duller
    breathiness: float = 0.02  # noise that goes with the voice, as a share of it
    rate: float = 1.0  # 1 is about 4.5 syllables a second
    roughness: float = 0.01  # jitter, as a share of a period; shimmer is five times that
    cavities: tuple[float, ...] = (1.0,) * 8  # of each formant, besides: no two tracts are of one shape throughout

    def say(self, seconds: float, seed: int) -> Audio:
        """Talk without a pause: float32 (seconds * SAMPLE_RATE,), at LEVEL. Seeds say different things."""
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        samples = round(seconds * SAMPLE_RATE)
        tracks = _Tracks.of(list(self._phones(seconds, rng)), samples, self)
        phase = np.cumsum(self._pitch(samples, rng) / SAMPLE_RATE)
        audio = self._voice(tracks, phase, rng) + self._noise(tracks, samples, rng)
        position = np.arange(samples)
        audio *= np.clip(np.minimum(position, position[::-1]) / (0.01 * SAMPLE_RATE), 0, 1)
        return np.asarray(audio * (LEVEL / np.sqrt(np.mean(audio**2))), np.float32)

    def _phones(self, seconds: float, rng: np.random.Generator) -> Iterator[Phone]:
        """Syllables, in the time that this talker takes for them, until `seconds` are full."""
        onsets, vowels, codas = _shuffled(ONSETS, rng), _shuffled(VOWELS, rng), _shuffled(CODAS, rng)
        told = 0.0
        while told < seconds:
            vowel = next(vowels)
            stressed = replace(vowel, seconds=vowel.seconds * rng.uniform(0.8, 1.3))
            coda = next(codas) if rng.random() < 0.3 else ()
            for phone in (*next(onsets), stressed, *coda):
                timed = replace(phone, seconds=phone.seconds / self.rate)
                yield timed
                told += timed.seconds

    def _pitch(self, samples: int, rng: np.random.Generator) -> Samples:
        """Hz for every sample: phrases of about 2 s that fall, with accents about every other syllable."""
        frames = samples // STEP + 2
        seconds = np.arange(frames) * STEP / SAMPLE_RATE
        slowness = 0.12 * SAMPLE_RATE / STEP
        accents = gaussian_filter1d(rng.standard_normal(frames), slowness)
        accents *= np.sqrt(2 * slowness * np.sqrt(np.pi))  # to a deviation of 1
        fall = gaussian_filter1d(0.5 - (seconds / rng.uniform(1.8, 2.6)) % 1, 0.05 * SAMPLE_RATE / STEP)
        semitones = self.liveliness * (0.8 * accents + 1.5 * fall)
        octaves = np.interp(np.arange(samples) / SAMPLE_RATE, seconds, semitones) / 12
        return np.asarray(self.pitch * 2**octaves)

    def _voice(self, tracks: _Tracks, phase: Samples, rng: np.random.Generator) -> Samples:
        """The sum of the tract's responses to glottal pulses, one a whole number of `phase` (samples,)."""
        pulses = np.flatnonzero(np.diff(np.floor(phase))) + 1
        period = 1 / (phase[pulses] - phase[pulses - 1])
        at = pulses + period * (self.roughness * rng.standard_normal(len(pulses)) - phase[pulses] % 1)
        frame = pulses // STEP
        loud = tracks.voice[frame] * np.exp(5 * self.roughness * rng.standard_normal(len(pulses)))
        heard = loud > 0.01
        at, frame, loud, period = at[heard], frame[heard], loud[heard], period[heard]

        first = np.floor(at).astype(int)
        hertz = np.fft.rfftfreq(RESPONSE, 1 / SAMPLE_RATE)
        glottis = 1j * hertz / self.pitch / (1 + 1j * hertz / self.pitch) ** 2 / (1 + 1j * hertz / self.tilt)
        delay = np.exp(-2j * np.pi * hertz / SAMPLE_RATE * (at - first)[:, None])
        responses = np.fft.irfft(glottis * delay * tracks.response(frame, RESPONSE))
        responses *= (loud * np.sqrt(period / np.sum(responses**2, axis=1)))[:, None]
        return _overlap_add(responses, first, len(phase))

    def _noise(self, tracks: _Tracks, samples: int, rng: np.random.Generator) -> Samples:
        """Grains of noise, one every STEP; only what the glottis makes goes through the tract."""
        frames = np.arange(len(tracks.voice))
        hertz = np.fft.rfftfreq(GRAIN, 1 / SAMPLE_RATE)
        through_tract = np.abs(tracks.response(frames, GRAIN)) * hertz / (hertz + 1000)
        band = np.exp(-2 * ((hertz - tracks.centre[:, None]) / tracks.width[:, None]) ** 2)
        breath = tracks.breath + self.breathiness * tracks.voice
        shape = np.hypot(breath[:, None] * _levelled(through_tract), tracks.hiss[:, None] * _levelled(band))
        white = np.fft.rfft(rng.standard_normal((len(frames), GRAIN)))
        window = np.hanning(GRAIN) / np.sqrt(0.375 * GRAIN / STEP)  # overlapping grains keep the level of one
        return _overlap_add(np.fft.irfft(white * shape) * window, frames * STEP - GRAIN // 2, samples)


# Found by a search for voices that the speaker encoder keeps well apart.
LOW = Talker(
    *("low", 110, 0.85), liveliness=1.1, tilt=1201, breathiness=0.05, rate=0.98, roughness=0.0,
    cavities=(0.85, 0.88, 1.16, 1.1, 1.0, 0.84, 1.16, 1.13),
)  # fmt: skip
HIGH = Talker(
    *("high", 184, 1.19), liveliness=1.1, tilt=2557, breathiness=0.05, rate=1.02,
    cavities=(1.1, 0.83, 1.19, 1.1, 1.12, 0.96, 0.91, 1.02),
)  # fmt: skip
SOFT = Talker(
    *("soft", 77, 0.95), liveliness=1.4, tilt=1561, breathiness=0.3, rate=1.09, roughness=0.0,
    cavities=(0.86, 1.2, 0.82, 0.93, 1.15, 0.97, 1.11, 1.1),
)  # fmt: skip
BRIGHT = Talker(
    *("bright", 151, 1.18), liveliness=1.4, tilt=2625, breathiness=0.3, rate=1.02,
    cavities=(1.11, 1.2, 0.85, 0.93, 1.17, 1.01, 1.0, 1.02),
)  # fmt: skip
TALKERS = (LOW, HIGH, SOFT, BRIGHT)


class Line(NamedTuple):
    """What a conversation asks for next."""

    talker: int  # index into the conversation's talkers
    seconds: float
    gap: float = 0.5  # s of silence since the line before; below 0, the two overlap


class Said(NamedTuple):
    """What a conversation holds, in seconds from its first sample."""

    talker: int
    start: float
    end: float


def small_talk(talkers: int, seconds: float, seed: int) -> list[Line]:
    """Lines of 2 to 5 s that fill all but the last of `seconds`, with gaps of 0.3 to 1 s.

    Everyone speaks once, in order; then a random one of the others answers.
    """
    rng = np.random.default_rng(seed)
    lines: list[Line] = []
    told = 0.0
    while True:
        other = (lines[-1].talker + int(rng.integers(1, max(talkers, 2)))) % talkers if lines else 0
        talker = len(lines) if len(lines) < talkers else other
        line = Line(talker, round(rng.uniform(2, 5), 2), round(rng.uniform(0.3, 1), 2))
        told += line.gap + line.seconds
        if told > seconds:
            return lines
        lines.append(line)


def conversation(talkers: Sequence[Talker], lines: Iterable[Line], seed: int) -> tuple[Audio, list[Said]]:
    """The lines one after another, over the noise of a quiet room, with half a second of it at the end.

    Returns float32 (n,) at SAMPLE_RATE and who speaks when, in the order of the lines.
    """
    pieces: list[tuple[int, Audio]] = []
    said: list[Said] = []
    end = 0.0
    for number, line in enumerate(lines):
        start = round(max(0.0, end + line.gap) * SAMPLE_RATE)
        audio = talkers[line.talker].say(line.seconds, seed=1000 * seed + number)
        pieces.append((start, audio))
        end = (start + len(audio)) / SAMPLE_RATE
        said.append(Said(line.talker, start / SAMPLE_RATE, end))
    samples = max((start + len(audio) for start, audio in pieces), default=0) + SAMPLE_RATE // 2
    mix = np.random.default_rng(seed).standard_normal(samples, np.float32) * np.float32(ROOM_LEVEL)
    for start, audio in pieces:
        mix[start : start + len(audio)] += audio
    return mix, said


def pcm16(audio: Audio) -> bytes:
    """Little-endian 16-bit samples of float32 (n,) in [-1, 1], as they go over the wire."""
    return np.clip(np.round(audio * 32768.0), -32768, 32767).astype("<i2").tobytes()


def write_wav(path: Path, audio: Audio) -> Path:
    """Write float32 (n,) as a mono 16-bit WAV at SAMPLE_RATE, and return its path."""
    soundfile.write(path, audio, SAMPLE_RATE, subtype="PCM_16")
    return path


@dataclass(frozen=True, slots=True)
class _Tracks:
    """What the tract does, one row every STEP samples."""

    formants: NDArray[np.float64]  # (frames, 3), Hz
    upper: NDArray[np.float64]  # Hz; those that stand still
    voice: NDArray[np.float64]  # (frames,), as are the rest; see Phone
    breath: NDArray[np.float64]
    hiss: NDArray[np.float64]
    centre: NDArray[np.float64]
    width: NDArray[np.float64]

    @classmethod
    def of(cls, phones: Sequence[Phone], samples: int, talker: Talker) -> _Tracks:
        """From phone to phone as fast as tongue and lips go: a formant takes some 50 ms, a closure 15 ms."""
        ends = np.cumsum([phone.seconds for phone in phones])
        times = np.arange(samples // STEP + 1) * STEP / SAMPLE_RATE
        which = np.minimum(np.searchsorted(ends, times, side="right"), len(phones) - 1)

        def track(values: Sequence[tuple[float, ...]], seconds: float) -> NDArray[np.float64]:
            steps = np.array(values, float)[which]
            return np.asarray(gaussian_filter1d(steps, seconds * SAMPLE_RATE / STEP, axis=0, mode="nearest"))

        excitation = [(phone.voice, phone.breath, phone.hiss, phone.centre, phone.width) for phone in phones]
        return cls(
            talker.tract * np.array(talker.cavities[:3]) * track([phone.formants for phone in phones], 0.018),
            talker.tract * np.array(talker.cavities[3:]) * np.array(UPPER_FORMANTS),
            *track(excitation, 0.006).T,
        )

    def response(self, frames: NDArray[np.int_], size: int) -> NDArray[np.complex128]:
        """What the tract makes of each frequency in these frames: (len(frames), size // 2 + 1)."""
        delay = np.exp(-2j * np.pi * np.fft.rfftfreq(size))
        chain = np.ones(len(delay), np.complex128)
        for hertz in self.upper[self.upper < 0.47 * SAMPLE_RATE]:
            chain = chain * _resonator(hertz, delay)
        for formant in self.formants[frames].T:
            chain = chain * _resonator(formant[:, None], delay)
        return chain


def _resonator(hertz: NDArray[np.float64], delay: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """A formant, of gain 1 at 0 Hz (Klatt 1980, equations 1 to 3). `delay` is z^-1 at each frequency."""
    bandwidth = 50 + 0.04 * hertz
    c = -np.exp(-2 * np.pi * bandwidth / SAMPLE_RATE)
    b = 2 * np.exp(-np.pi * bandwidth / SAMPLE_RATE) * np.cos(2 * np.pi * hertz / SAMPLE_RATE)
    return np.asarray((1 - b - c) / (1 - delay * (b + c * delay)))


def _levelled(gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gains (frames, frequencies) scaled so that white noise keeps its level."""
    return np.asarray(gain / np.sqrt(np.mean(gain**2, axis=1, keepdims=True)))


def _overlap_add(pieces: NDArray[np.float64], starts: NDArray[np.int_], samples: int) -> Samples:
    """Lay (n, size) pieces at their first samples and add them up; what lies outside [0, samples) is cut."""
    where = (starts[:, None] + np.arange(pieces.shape[1])).ravel()
    inside = (where >= 0) & (where < samples)
    mix = np.bincount(where[inside], weights=pieces.ravel()[inside], minlength=samples)
    return mix.astype(np.float64, copy=False)


def _shuffled(items: Sequence[Item], rng: np.random.Generator) -> Iterator[Item]:
    """The items without end, all of them in a new order each time round."""
    while True:
        for i in rng.permutation(len(items)):
            yield items[i]
