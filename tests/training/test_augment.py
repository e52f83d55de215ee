from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator
from scipy.signal import correlate

from pipeline.timeline import SAMPLE_RATE
from tests.talkers import HIGH, LOW, Talker
from training.augment import (
    CONDITIONS,
    DETOUR,
    DIRECT_TO_REVERBERANT,
    HUM,
    LOWER_CUT,
    UPPER_CUT,
    Audio,
    at_speed,
    band_limited,
    equalised,
    in_room,
    noise,
    over_noise,
    overdriven,
    through_opus,
    through_telephone,
    varied,
)
from training.config import Augmentation

SEEDS = range(5)
CHANGES: dict[str, Callable[[Audio, Generator], Audio]] = CONDITIONS | {
    "equaliser": equalised,
    "band": band_limited,
    "Opus, 12 kbit/s": lambda audio, rng: through_opus(audio, 12_000),
}

NOTHING = Augmentation(speeds=(1.0,), room=0, noise=0, equaliser=0, band=0, opus=0, telephone=0, overdriven=0)
EVERYTHING = Augmentation(
    room=1, noise=1, noise_ratio=(0, 0), equaliser=1, band=1, opus=0.5, telephone=0.5, overdriven=0.5
)


@pytest.fixture(scope="module")
def talk() -> Audio:
    """2 s of talk: not a round number of samples, as clips seldom are."""
    return LOW.say(2.0, seed=1)[:-11]


def decibels(audio: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(audio.astype(float) ** 2)))


def share(audio: Audio, low: float, high: float) -> float:
    """How much of the power is between two frequencies in Hz, in dB."""
    power = np.abs(np.fft.rfft(audio)) ** 2
    hertz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
    return float(10 * np.log10(power[(hertz >= low) & (hertz < high)].sum() / power.sum()))


def lag(audio: Audio, reference: Audio) -> float:
    """Seconds by which the audio comes later than the reference."""
    return float(np.argmax(correlate(audio, reference)) - (len(reference) - 1)) / SAMPLE_RATE


def tone(hertz: float, seconds: float = 1.0) -> Audio:
    return (0.1 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_keeps_length_place_and_type_and_leaves_its_input_alone(name: str, talk: Audio) -> None:
    original = talk.copy()
    original.setflags(write=False)
    changed = CHANGES[name](original, np.random.default_rng(3))
    assert changed.dtype == np.float32
    assert changed.shape == talk.shape
    assert np.isfinite(changed).all()
    assert abs(lag(changed, talk)) <= 0.002


@pytest.mark.parametrize("name", CHANGES)
def test_silence_and_the_shortest_sound_are_no_trouble(name: str) -> None:
    for samples in (1, 100, 4000):
        silence = np.zeros(samples, np.float32)
        changed = CHANGES[name](silence, np.random.default_rng(1))
        assert changed.shape == silence.shape
        assert np.abs(changed).max() < 1e-3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("asked", [0.0, 10.0, 35.0])
def test_noise_lies_as_far_below_as_asked(asked: float, seed: int, talk: Audio) -> None:
    added = over_noise(talk, asked, np.random.default_rng(seed)) - talk
    assert decibels(talk) - decibels(added) == pytest.approx(asked, abs=0.5)


def test_noise_is_between_white_and_brown_and_has_an_rms_of_one() -> None:
    slopes = []
    for seed in range(40):
        made = noise(4 * SAMPLE_RATE + 1, np.random.default_rng(seed))
        assert decibels(made) == pytest.approx(0, abs=1e-3)
        slopes.append((share(made, 4000, 8000) - share(made, 1000, 2000)) / 2 - 3)  # 3 dB: an octave is twice as wide
    assert -6.5 < min(slopes) < -5
    assert -1 < max(slopes) < 0.5


def test_some_noise_hums_and_some_swells() -> None:
    made = [noise(4 * SAMPLE_RATE, np.random.default_rng(seed)) for seed in range(60)]
    hums = sum(share(audio, 49, 51) > HUM[0] - 6 or share(audio, 59, 61) > HUM[0] - 6 for audio in made)
    levels = [[decibels(part) for part in np.array_split(np.diff(audio, 3), 16)] for audio in made]
    swells = sum(np.std(level) > 1.5 for level in levels)
    assert 3 < hums < 30
    assert 6 < swells < 40


@pytest.mark.parametrize("seed", SEEDS)
def test_a_room_keeps_the_direct_sound_and_adds_a_tail_as_loud_as_it_may_be(seed: int) -> None:
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[1000] = 0.5
    heard = in_room(click, np.random.default_rng(seed))
    first = 1000 + round(DETOUR * SAMPLE_RATE)
    assert heard[1000] == pytest.approx(0.5, abs=1e-5)
    assert np.abs(np.delete(heard[:first], 1000)).max() < 1e-5
    ratio = 10 * np.log10(0.25 / np.sum(heard[first:].astype(float) ** 2))
    assert DIRECT_TO_REVERBERANT[0] - 0.01 <= ratio <= DIRECT_TO_REVERBERANT[1] + 0.01
    assert np.abs(heard[1000 + round(0.41 * SAMPLE_RATE) :]).max() < 1e-5


@pytest.mark.parametrize("bitrate", [12_000, 24_000, 48_000])
@pytest.mark.parametrize("talker", [LOW, HIGH])
def test_opus_keeps_time_and_what_is_said(talker: Talker, bitrate: int) -> None:
    talk = talker.say(2.0, seed=2)
    heard = through_opus(talk, bitrate)
    assert abs(lag(heard, talk)) <= 0.002
    assert 0.8 < np.corrcoef(heard, talk)[0, 1] < 0.99999


def test_a_higher_bitrate_is_closer_to_the_original(talk: Audio) -> None:
    errors = [decibels(through_opus(talk, bitrate) - talk) for bitrate in (8_000, 16_000, 48_000)]
    assert errors == sorted(errors, reverse=True)


def test_the_telephone_lets_only_its_band_through() -> None:
    white = (0.1 * np.random.default_rng(1).standard_normal(2 * SAMPLE_RATE)).astype(np.float32)
    heard = through_telephone(white)
    assert share(heard, 3600, 8001) < -40
    assert share(heard, 0, 150) < -35
    for hertz in (500, 1000, 3000):
        assert decibels(through_telephone(tone(hertz))) == pytest.approx(decibels(tone(hertz)), abs=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_narrower_band_falls_off_where_it_may(seed: int) -> None:
    heard = [decibels(band_limited(tone(hertz), np.random.default_rng(seed))) for hertz in (1000, UPPER_CUT[0], 7900)]
    assert heard[0] == pytest.approx(decibels(tone(1000)), abs=0.5)
    assert heard[1] > decibels(tone(1000)) - 4
    assert heard[2] < decibels(tone(1000)) - 10


def test_half_of_the_bands_have_a_lower_end() -> None:
    low = [decibels(band_limited(tone(LOWER_CUT[0] / 2), np.random.default_rng(seed))) for seed in range(40)]
    assert 10 < sum(level < decibels(tone(50)) - 6 for level in low) < 30


@pytest.mark.parametrize("seed", SEEDS)
def test_an_equaliser_changes_the_colour_by_no_more_than_its_filters_can(seed: int) -> None:
    changes = [
        decibels(equalised(tone(hertz), np.random.default_rng(seed))) - decibels(tone(hertz))
        for hertz in (100, 300, 1000, 3000, 7000)
    ]
    assert max(changes) - min(changes) > 0.5
    assert max(map(abs, changes)) < 18.5


def test_filters_do_not_clip_what_is_loud() -> None:
    loud, soft = 30 * tone(1000), tone(1000)
    for change in (equalised, band_limited):
        heard = [change(audio, np.random.default_rng(1)) for audio in (loud, soft)]
        assert np.allclose(heard[0], 30 * heard[1], atol=1e-3)


@pytest.mark.parametrize("speed", [0.88, 0.94, 1.06, 1.12])
def test_speed_changes_length_and_pitch_alike(speed: float) -> None:
    fast = at_speed(tone(400), speed)
    assert len(fast) == pytest.approx(SAMPLE_RATE / speed, abs=1)
    peak = np.argmax(np.abs(np.fft.rfft(fast, 16 * SAMPLE_RATE))) / 16
    assert peak == pytest.approx(400 * speed, abs=0.5)
    assert np.array_equal(at_speed(tone(400), 1.0), tone(400))


def test_what_is_overdriven_is_cut_off_so_far_below_its_peak() -> None:
    audio = np.array([0.1, -0.2, 0.0, 0.4, -0.4], np.float32)
    twice = 20 * np.log10(2)
    assert overdriven(audio, twice) == pytest.approx(np.array([0.5, -1, 0, 1, -1]), abs=1e-6)
    assert np.array_equal(overdriven(audio, twice), overdriven(2 * audio, twice)), "whatever its level was"
    assert not overdriven(np.zeros(9, np.float32), twice).any()


def test_a_seed_repeats_a_variation_and_another_makes_another(talk: Audio) -> None:
    for how in (Augmentation(), EVERYTHING):
        first, again, other = (varied(talk, how, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first[:1000], other[:1000])


@pytest.mark.parametrize("seed", SEEDS)
def test_generators_of_one_seed_put_clips_of_any_length_into_one_place(seed: int) -> None:
    """An impulse tells everything about a room and a microphone, up to where the shorter clip ends."""
    how = NOTHING.model_copy(update={"room": 0.5, "equaliser": 0.5, "band": 0.5})
    long = np.zeros(15_001, np.float32)
    long[100] = 0.1
    heard, as_well = (varied(clip, how, np.random.default_rng(seed)) for clip in (long[:8_000], long))
    assert heard == pytest.approx(as_well[:8_000], abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_clips_in_one_place_have_one_tempo_one_share_of_noise_and_one_line(seed: int) -> None:
    clips = LOW.say(1.0, seed=1), LOW.say(2.3, seed=2)

    def changed(**shares: object) -> list[Audio]:
        how = NOTHING.model_copy(update=shares)
        return [varied(clip, how, np.random.default_rng(seed)) for clip in clips]

    speeds = [len(clip) / len(heard) for clip, heard in zip(clips, changed(speeds=(0.88, 1.0, 1.12)), strict=True)]
    assert speeds[0] == pytest.approx(speeds[1], rel=1e-3)
    noises = [heard - clip for clip, heard in zip(clips, changed(noise=1.0), strict=True)]
    ratios = [decibels(clip) - decibels(added) for clip, added in zip(clips, noises, strict=True)]
    assert ratios[0] == pytest.approx(ratios[1], abs=1e-3)
    narrow = [share(heard, 3600, 8001) < -40 for heard in changed(telephone=0.5)]
    assert narrow[0] == narrow[1]


def test_a_variation_of_nothing_changes_nothing(talk: Audio) -> None:
    assert np.array_equal(varied(talk, NOTHING, np.random.default_rng(1)), talk)


def test_nothing_leaves_a_variation_beyond_full_scale(talk: Audio) -> None:
    loud = talk / np.abs(talk).max()
    for seed in range(8):
        heard = varied(loud, EVERYTHING, np.random.default_rng(seed))
        assert heard.dtype == np.float32
        assert np.abs(heard).max() <= 1


def test_each_share_is_what_it_says() -> None:
    audio, rng = tone(440, seconds=0.05), np.random.default_rng(1)
    how = NOTHING.model_copy(update={"band": 0.25, "opus": 0.1, "telephone": 0.1})
    changed = sum(not np.array_equal(varied(audio, how, rng), audio) for _ in range(200))
    assert 0.3 < changed / 200 < 0.5, "a quarter are band-limited, and of the others a fifth go over a line"
