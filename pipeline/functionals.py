"""Functionals: how a voice moved over a fragment, in a few hundred numbers that have names.

Every 12.5 ms descriptors are taken of the spectrum and of the pitch, much as in GeMAPS (Eyben et al. 2016,
doi 10.1109/TAFFC.2015.2457417); the functionals are their statistics over the fragment. A network that has heard few
speakers learns little that holds for new ones. These numbers need not be learnt, and they are what a raised, pressed
or hushed voice changes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pipeline.mel import mel_bank, power_spectra
from pipeline.timeline import SAMPLE_RATE

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

WINDOW: Final = 640  # samples, 40 ms: more than two periods of the lowest voice
HOP: Final = 200  # samples, 12.5 ms; 10 ms hears hardly more, 15 ms less
FFT: Final = 1024  # points: a window and the longest period, without wrapping round
PITCH: Final = (60.0, 600.0)  # Hz; from a creak to a shriek
MEL_BANDS: Final = 40
COEFFICIENTS: Final = 19  # MFCC after the first, which is loudness
SPEECH_RANGE: Final = 40.0  # dB below the loudest frame; what is quieter is a pause
VOICED_RANGE: Final = 35.0  # dB below the loudest frame; what is quieter is an echo or the room
PERIODIC: Final = 0.5  # normalised autocorrelation at the pitch period, from which a frame counts as voiced
FEWEST: Final = 6  # frames; where fewer are speech or voiced, all frames stand in for them
LONGEST_STEP: Final = 4.0  # semitones from frame to frame; a longer one is an octave error
COSINES: Final = 8  # that draw the contour of pitch and of loudness
RHYTHM: Final = ((0.5, 1.5), (1.5, 3), (3, 5), (5, 8), (8, 14), (14, 25))  # Hz, of the loudness: phrases to roughness
SMALL: Final = 1e-9
DECIBELS: Final = np.float32(10 / np.log(10))  # in a neper: NumPy's natural logarithm takes a third of the time
VERSION: Final = 1  # raised whenever a functional comes to mean something else
COUNT: Final = 516  # functionals

_FREQUENCIES: Final = scipy.fft.rfftfreq(FFT, 1 / SAMPLE_RATE)
_TAPER: Final = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
_MEL: Final = mel_bank(FFT, MEL_BANDS, lowest=50.0)
_BANDS: Final = ((1000, 5000), (50, 1000), (0, 500), (500, 1500))  # Hz; the alpha ratio's, and a closer pair
_LAGS: Final = np.arange(round(SAMPLE_RATE / PITCH[1]), round(SAMPLE_RATE / PITCH[0]))


def _within(low: float, high: float) -> slice:
    return slice(int(np.searchsorted(_FREQUENCIES, low)), int(np.searchsorted(_FREQUENCIES, high)))


def _sums() -> Array:
    """What takes spectra to their first moment, in kHz, and to the power in `_BANDS`, at once: (bins, 5)."""
    columns = [_FREQUENCIES / 1000] + [np.zeros(len(_FREQUENCIES)) for _ in _BANDS]
    for column, band in zip(columns[1:], _BANDS, strict=True):
        column[_within(*band)] = 1
    return np.column_stack(columns).astype(np.float32)


def _autocorrelation_of_taper() -> Array:
    """What the taper alone does to an autocorrelation (Boersma 1993, equation 9), at `_LAGS`."""
    correlation = scipy.fft.irfft(np.abs(scipy.fft.rfft(_TAPER, FFT)) ** 2)
    return np.asarray((correlation / correlation[0])[_LAGS], np.float32)


_SUMS: Final = _sums()
_TAPER_CORRELATION: Final = _autocorrelation_of_taper()
_SHORT_FIRST: Final = (1 - 5e-4 * _LAGS).astype(np.float32)  # of equal peaks the shortest lag: no octave errors


@dataclass(frozen=True)
class Spectrogram:
    """The power spectra of a fragment: float32 (frames, FFT // 2 + 1), a frame every HOP samples."""

    power: Array

    @classmethod
    def of(cls, audio: Array) -> Spectrogram:
        """The spectrogram of float32 (n,) at 16 kHz with its peak brought to 1: 1 + n // HOP frames."""
        peak = float(np.abs(audio).max(initial=0.0))
        padded = np.pad(audio, WINDOW // 2).astype(np.float32, copy=False)
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
        return cls(power_spectra(frames, _TAPER / np.float32(peak or 1), FFT))

    def __len__(self) -> int:
        return len(self.power)

    @cached_property
    def loudness(self) -> Array:
        """Decibels of each frame below the loudest, at the least -60: (frames,)."""
        decibels = decibels_of(self.power.sum(axis=1))
        return np.asarray(np.maximum(decibels - decibels.max(), -60))

    @cached_property
    def speech(self) -> Mask:
        """Which frames are no pause: (frames,)."""
        return _enough(self.loudness > -SPEECH_RANGE)

    @cached_property
    def voiced(self) -> Mask:
        """Which frames have a pitch: (frames,)."""
        return _enough((self.periodicity > PERIODIC) & (self.loudness > -VOICED_RANGE))

    @cached_property
    def semitones(self) -> Array:
        """The pitch of voiced frames over 100 Hz, without what jumps for a frame or two: (voiced frames,)."""
        return _without_jumps(12 * np.log2(self.pitch[self.voiced] / 100))

    @property
    def pitch(self) -> Array:
        """Hz, for each frame whether voiced or not: (frames,)."""
        return (SAMPLE_RATE / self._period[0]).astype(np.float32)

    @property
    def periodicity(self) -> Array:
        """How alike a frame is to itself one period later, 0 to 1, and 0 in pauses: (frames,)."""
        return self._period[1]

    @cached_property
    def _period(self) -> tuple[Array, Array]:
        """The likeliest period in samples and the autocorrelation there (Boersma 1993): (frames,) each."""
        correlation = _from_cosines(self.power[self.speech])
        at_lags = correlation[:, _LAGS[0] : _LAGS[-1] + 1] / (correlation[:, :1] + SMALL) / _TAPER_CORRELATION
        best = (at_lags * _SHORT_FIRST).argmax(axis=1)
        period, periodicity = np.full(len(self), _LAGS[-1], np.float32), np.zeros(len(self), np.float32)
        period[self.speech] = _LAGS[best]
        periodicity[self.speech] = np.clip(at_lags[np.arange(len(best)), best], 0, 1)
        return period, periodicity


def functionals(heard: Spectrogram) -> Array:
    """The functionals of a fragment of 0.5 s or more: float32 (COUNT,)."""
    return np.concatenate(list(_functionals(heard))).astype(np.float32)


def _functionals(heard: Spectrogram) -> Iterator[Array]:
    descriptors = _descriptors(heard)
    speech, voiced = descriptors[heard.speech], descriptors[heard.voiced]
    yield speech.mean(axis=0)
    yield speech.std(axis=0)
    yield from _percentiles(speech, 10, 50, 90)
    steps = np.diff(descriptors, axis=0)[_enough(heard.speech[1:])]
    yield np.abs(steps).mean(axis=0)
    yield steps.std(axis=0)
    yield _trend(speech, heard.speech)
    for third in np.array_split(speech, 3):
        yield third.mean(axis=0)
    for sound in (voiced, _voice_source(heard)):
        yield sound.mean(axis=0)
        yield sound.std(axis=0)
        yield from _percentiles(sound, 20, 80)
    yield _pitch_statistics(heard)
    yield _contours(heard)
    yield _rhythm(heard)


def _descriptors(heard: Spectrogram) -> Array:
    """What is taken of each frame: (frames, 9 + COEFFICIENTS)."""
    power = heard.power
    mel = power @ _MEL
    moment, *bands = (power @ _SUMS).T
    upper, lower, below, above = (decibels_of(band) for band in bands)
    fours = power[:, 0:-1:4] + power[:, 1::4] + power[:, 2::4] + power[:, 3::4]  # bins of 62.5 Hz, for the roll-off
    cumulative = np.cumsum(fours, axis=1)
    total = cumulative[:, -1:] + power[:, -1:] + SMALL
    cumulative /= total
    magnitude = np.sqrt(mel / total)
    flux = np.sqrt(np.square(np.diff(magnitude, axis=0, prepend=magnitude[:1])).sum(axis=1))
    periodicity = np.clip(heard.periodicity, 0.01, 0.99)
    decibels = decibels_of(mel)
    cepstrum = scipy.fft.dct(np.maximum(decibels, decibels.max() - 70), axis=1, norm="ortho")
    return np.column_stack(
        [
            heard.loudness,
            moment / total[:, 0],  # centroid
            (cumulative < 0.85).sum(axis=1, dtype=np.float32),  # roll-off
            (cumulative < 0.5).sum(axis=1, dtype=np.float32),
            upper - lower,  # alpha ratio
            decibels_of(power[:, _within(0, 2000)].max(axis=1))
            - decibels_of(power[:, _within(2000, 5000)].max(axis=1)),
            below - above,
            flux,
            10 * np.log10(periodicity / (1 - periodicity)),  # harmonics to noise
            cepstrum[:, 1 : 1 + COEFFICIENTS],
        ]
    )


def _voice_source(heard: Spectrogram) -> Array:
    """What tells a pressed voice from a breathy one: harmonics and formant regions, in dB: (voiced frames, 9)."""
    level = decibels_of(heard.power[heard.voiced])
    bins = heard.pitch[heard.voiced] * np.float32(FFT / SAMPLE_RATE)
    harmonics = np.outer(bins, np.arange(1, 4, dtype=np.float32))
    first, second, third = _peaks_near(level, harmonics).T
    regions = ((300, 1000), (1000, 2300), (2300, 3600), (4000, 7000))
    one, two, three, four = (level[:, _within(*region)].max(axis=1) for region in regions)
    cepstrum = np.abs(_from_cosines(level)[:, _LAGS[0] : _LAGS[-1] + 1])
    prominence = cepstrum.max(axis=1) / (cepstrum.mean(axis=1) + SMALL)
    pairs = ((first, second), (first, third), (first, one), (first, two), (first, three))
    tilts = ((one, two), (one, three), (one, four))
    return np.column_stack([*(above - below for above, below in (*pairs, *tilts)), prominence])


def _pitch_statistics(heard: Spectrogram) -> Array:
    """Where the pitch lies and how it moves, in semitones over 100 Hz, and how much is voiced: (22,)."""
    semitones = heard.semitones
    steps = np.diff(semitones)
    steps = steps[np.abs(steps) < LONGEST_STEP]
    steps = steps if len(steps) else np.zeros(1, np.float32)
    ranks = np.array((0.05, 0.2, 0.5, 0.8, 0.95)) * (len(semitones) - 1)
    low, lower, middle, higher, high = np.interp(ranks, np.arange(len(semitones)), np.sort(semitones))
    bend = np.abs(np.diff(steps)).mean() if len(steps) > 1 else 0.0
    loudness = heard.loudness[heard.voiced]
    onsets = np.diff(heard.voiced.astype(np.int8)) == 1
    return np.array(
        [
            semitones.mean(),
            semitones.std(),
            *(low, lower, middle, higher, high, high - low),
            np.abs(steps).mean(),
            steps.std(),
            (steps > 0).mean(),
            bend,
            _trend(semitones[:, None], heard.voiced)[0],
            *(part.mean() for part in np.array_split(semitones, 3)),
            np.abs(np.diff(loudness)).mean() if len(loudness) > 1 else 0.0,
            heard.voiced.mean(),
            heard.speech.mean(),
            heard.periodicity[heard.speech].mean(),
            onsets.sum() / len(heard),
            heard.voiced.sum() / max(1, onsets.sum()),
        ],
        np.float32,
    )


def _contours(heard: Spectrogram) -> Array:
    """The shapes of pitch and loudness from the first voiced frame to the last, as cosines: (4 * COSINES,)."""
    voiced = np.flatnonzero(heard.voiced)
    instants = np.linspace(voiced[0], voiced[-1], 64)
    shapes = (np.interp(instants, voiced, heard.semitones), np.interp(instants, np.arange(len(heard)), heard.loudness))
    cosines = np.concatenate([scipy.fft.dct(shape, norm="ortho")[1 : 1 + COSINES] for shape in shapes])
    return np.concatenate([cosines, np.abs(cosines)]).astype(np.float32)


def _rhythm(heard: Spectrogram) -> Array:
    """How the movement of the loudness is shared out over `RHYTHM`, in nepers: (len(RHYTHM),)."""
    loudness = (heard.loudness - heard.loudness.mean()) * np.hanning(len(heard))
    movement = np.abs(scipy.fft.rfft(loudness, 512)) ** 2
    rates = scipy.fft.rfftfreq(512, HOP / SAMPLE_RATE)
    shares = np.array([movement[(rates >= low) & (rates < high)].sum() for low, high in RHYTHM]) + SMALL
    return np.asarray(np.log(shares / shares.sum()), np.float32)


def _percentiles(values: Array, *percents: float) -> list[Array]:
    """Columns' percentiles by nearest rank; one sort serves them all and takes a third of numpy's time."""
    ordered = np.sort(values, axis=0)
    return [np.asarray(ordered[round((len(ordered) - 1) * percent / 100)]) for percent in percents]


def _trend(values: Array, where: Mask) -> Array:
    """The slope of each column over the fragment, per half its length: (columns,)."""
    time = np.linspace(-1, 1, len(where), dtype=np.float32)[where]
    time = time - time.mean()
    return np.asarray(time @ (values - values.mean(axis=0)) / (len(time) * time.var() + 1e-6), np.float32)


def _peaks_near(level: Array, bins: Array) -> Array:
    """The highest level within two bins of where harmonics are expected: (frames, harmonics) of both."""
    centre = np.clip(np.round(bins).astype(int), 2, level.shape[1] - 3)[:, :, None]
    near = (centre + np.arange(-2, 3)).reshape(len(level), -1)
    peaks: Array = np.take_along_axis(level, near, axis=1).reshape(*centre.shape[:2], 5).max(axis=2)
    return peaks


def _without_jumps(contour: Array) -> Array:
    """The median of each five neighbours, with the ends mirrored: (n,) of both, n at least 2."""
    mirrored = np.concatenate([contour[1::-1], contour, contour[:-3:-1]])
    neighbours = np.stack([mirrored[start : start + len(contour)] for start in range(5)])
    return np.asarray(np.sort(neighbours, axis=0)[2])


def _from_cosines(spectra: Array) -> Array:
    """The inverse transform of spectra without phases, (n, FFT // 2 + 1), up to its middle: the same shape.

    It is what `irfft` gives of them, for half the time: a cosine transform does not make complex numbers of them.
    """
    return np.asarray(scipy.fft.dct(spectra, type=1, axis=1, norm="forward"))


def _enough(mask: Mask) -> Mask:
    return mask if mask.sum() >= FEWEST else np.ones_like(mask)


def decibels_of(power: Array) -> Array:
    """Power in dB, float32 of the same shape."""
    return np.asarray(DECIBELS * np.log(power + SMALL), np.float32)
