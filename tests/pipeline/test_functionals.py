from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.fft
from scipy.ndimage import median_filter

from pipeline import functionals as of
from pipeline.functionals import COUNT, HOP, RHYTHM, Spectrogram, functionals
from pipeline.timeline import SAMPLE_RATE
from tests.talkers import LOW

# Where some of the numbers stand. A model is trained on this order, so it changes only together with the version.
PITCH_MEAN, PITCH_DEVIATION, PITCH_MEDIAN, PITCH_RISES, PITCH_TREND = 456, 457, 460, 466, 468
PITCH_THIRDS = slice(469, 472)
SHARE_VOICED, SHARE_SPEECH = 473, 474
RHYTHMS = slice(COUNT - len(RHYTHM), COUNT)


def buzz(hertz: np.ndarray) -> np.ndarray:
    """A voice with so much pitch at each sample, at one level: float32 (len(hertz),)."""
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    return (0.1 * sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))).astype(np.float32)


def steady(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return buzz(np.full(round(seconds * SAMPLE_RATE), hertz))


def hiss(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE), np.float32)


def swelling(rate: float, seconds: float = 2.0) -> np.ndarray:
    """Noise that gets 10 dB louder and 10 dB softer so many times a second."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (hiss(seconds) * 10 ** (0.5 * np.sin(2 * np.pi * rate * time))).astype(np.float32)


def measured(audio: np.ndarray) -> np.ndarray:
    return functionals(Spectrogram.of(audio))


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return LOW.say(2.0, seed=1)


def test_a_spectrum_every_hop() -> None:
    assert len(Spectrogram.of(steady(200))) == 1 + SAMPLE_RATE // HOP == 81


@pytest.mark.parametrize("hertz", [80, 120, 200, 320, 480])
def test_a_steady_voice_is_voiced_and_has_its_pitch(hertz: float) -> None:
    heard = Spectrogram.of(steady(hertz))
    inner = slice(2, -2)  # frames that lie within the sound
    assert heard.voiced[inner].all()
    np.testing.assert_allclose(heard.pitch[inner], hertz, rtol=0.02)
    numbers = measured(steady(hertz))
    assert numbers[PITCH_MEAN] == pytest.approx(12 * np.log2(hertz / 100), abs=0.35)
    assert numbers[[PITCH_DEVIATION, PITCH_TREND]] == pytest.approx([0, 0], abs=0.1)
    assert numbers[SHARE_VOICED] > 0.95


def test_the_pitch_of_speech_is_heard() -> None:
    monotone = replace(LOW, pitch=200.0, liveliness=0.0, roughness=0.0).say(2.0, seed=1)
    heard = Spectrogram.of(monotone)
    assert np.median(heard.pitch[heard.voiced]) == pytest.approx(200, rel=0.02)
    assert 0.5 < heard.voiced.mean() < 1
    assert measured(monotone)[PITCH_MEDIAN] == pytest.approx(12, abs=0.35)


def test_a_pause_is_no_speech() -> None:
    numbers = measured(np.concatenate([steady(200), np.zeros(SAMPLE_RATE, np.float32)]))
    assert numbers[[SHARE_VOICED, SHARE_SPEECH]] == pytest.approx([0.5, 0.5], abs=0.02)


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_a_number_for_everything_whatever_is_heard(speech: np.ndarray, seconds: float) -> None:
    samples = round(seconds * SAMPLE_RATE)
    click = np.eye(1, samples, samples // 2, dtype=np.float32)[0]
    for audio in (np.zeros(samples, np.float32), hiss(seconds), click, speech[:samples]):
        numbers = measured(audio)
        assert numbers.shape == (COUNT,)
        assert numbers.dtype == np.float32
        assert np.isfinite(numbers).all()


@pytest.mark.parametrize("gain", [1e-4, 0.01, 10.0])
def test_level_makes_no_difference(speech: np.ndarray, gain: float) -> None:
    # The prominence of the cepstrum's peak is a quotient of logarithms: what single precision rounds elsewhere at
    # another level shows in its fourth digit.
    np.testing.assert_allclose(measured(np.float32(gain) * speech), measured(speech), rtol=5e-4, atol=1e-3)


def test_the_same_sound_has_the_same_numbers(speech: np.ndarray) -> None:
    np.testing.assert_array_equal(measured(speech.copy()), measured(speech))
    assert not np.allclose(measured(LOW.say(2.0, seed=2)), measured(speech))


@pytest.mark.parametrize(("rate", "band"), [(1, 0), (2, 1), (4, 2), (6, 3), (10, 4), (20, 5)])
def test_the_rhythm_lies_where_the_sound_swells(rate: float, band: int) -> None:
    shares = np.exp(measured(swelling(rate))[RHYTHMS])
    assert shares.sum() == pytest.approx(1, abs=1e-3)
    assert shares[band] > 0.9


def test_a_pitch_that_glides_up_is_told_from_one_that_glides_down() -> None:
    up = buzz(np.geomspace(120, 240, SAMPLE_RATE))
    rising, falling = measured(up), measured(up[::-1].copy())
    assert rising[PITCH_TREND] == pytest.approx(6, abs=0.3), "an octave over the whole is 6 semitones over half of it"
    assert falling[PITCH_TREND] == pytest.approx(-rising[PITCH_TREND], abs=0.1)
    assert rising[PITCH_THIRDS].tolist() == sorted(rising[PITCH_THIRDS])
    assert falling[PITCH_THIRDS].tolist() == sorted(falling[PITCH_THIRDS], reverse=True)
    assert rising[PITCH_RISES] > 0.5
    assert falling[PITCH_RISES] == 0
    assert falling[PITCH_MEAN] == pytest.approx(rising[PITCH_MEAN], abs=0.1)


def test_short_cuts_lead_where_the_long_ways_do() -> None:
    """A model was trained on what libraries make of this; each short cut has to give the same."""
    heard = Spectrogram.of(buzz(np.linspace(90, 240, SAMPLE_RATE)) + np.float32(0.003) * hiss(1.0))
    tapered = np.zeros((len(heard), of.FFT), np.float32)
    padded = np.pad(buzz(np.linspace(90, 240, SAMPLE_RATE)) + np.float32(0.003) * hiss(1.0), of.WINDOW // 2)
    for number, row in enumerate(tapered):
        row[: of.WINDOW] = padded[number * HOP : number * HOP + of.WINDOW] * of._TAPER
    power = np.abs(scipy.fft.rfft(tapered / np.abs(padded).max(), axis=1)) ** 2
    np.testing.assert_allclose(heard.power, power, rtol=1e-3, atol=1e-6 * power.max())

    there = scipy.fft.irfft(power.astype(np.float64), axis=1)[:, : power.shape[1]]
    np.testing.assert_allclose(of._from_cosines(heard.power), there, atol=1e-5 * np.abs(there).max())
    moments = heard.power @ of._SUMS
    np.testing.assert_allclose(moments[:, 0], power @ (of._FREQUENCIES / 1000), rtol=1e-3)
    for column, band in zip(moments.T[1:], of._BANDS, strict=True):
        np.testing.assert_allclose(column, power[:, of._within(*band)].sum(axis=1), rtol=1e-3, atol=1e-6)
    for count in (6, 7, 50):
        contour = np.random.default_rng(count).normal(size=count).astype(np.float32)
        np.testing.assert_array_equal(of._without_jumps(contour), median_filter(contour, 5))
    semitones = heard.semitones
    told = of._pitch_statistics(heard)[2:7]
    np.testing.assert_allclose(told, np.percentile(semitones, (5, 20, 50, 80, 95)), rtol=1e-5)
