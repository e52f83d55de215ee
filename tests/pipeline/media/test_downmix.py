"""One channel from several."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.media.downmix import FADE, Downmix
from pipeline.timeline import SAMPLE_RATE
from tests.media.sounds import talk

UNKNOWN = ["NONE"] * 8
SURROUND = ["FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"]


def sound(channels: int) -> NDArray[np.int16]:
    return np.rint(talk(channels) * 32_767).astype(np.int16)


@pytest.mark.parametrize("channels", range(1, 9))
def test_what_is_alike_in_all_channels_keeps_its_level(channels: int) -> None:
    one = sound(1)
    assert np.array_equal(Downmix(UNKNOWN[:channels]).mix(np.repeat(one, channels, axis=0)), one[0])


@pytest.mark.parametrize("names", [UNKNOWN, SURROUND])
def test_whoever_is_in_one_channel_is_heard_at_the_same_level_in_whichever(names: list[str]) -> None:
    one = sound(1)[0]
    heard = {number for number, name in enumerate(names) if name != "LFE"}
    for number in range(8):
        channels = np.zeros((8, len(one)), np.int16)
        channels[number] = one
        mix = Downmix(names).mix(channels)
        assert np.abs(mix - one / len(heard)).max() <= (0.5 if number in heard else 32_768)
        assert mix.any() == (number in heard)


def test_full_scale_does_not_wrap_round() -> None:
    loud = np.array([[-32_768, 32_767], [32_767, -32_768]] * 4, np.int16).repeat(1_000, axis=1)
    assert np.abs(Downmix(UNKNOWN).mix(loud).astype(int)).min() >= 32_766


@pytest.mark.parametrize("channels", [2, 4])
def test_a_channel_that_is_wired_the_wrong_way_round_cancels_nothing(channels: int) -> None:
    one = sound(1)
    mix = Downmix(UNKNOWN[:channels]).mix(np.concatenate([one] * (channels - 1) + [-one]))
    assert np.array_equal(np.abs(mix), np.abs(one[0]))


def test_a_channel_is_turned_round_without_a_click() -> None:
    hum = np.rint(8_000 * np.sin(2 * np.pi * 100 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.int16)
    downmix = Downmix(UNKNOWN[:2])
    blocks = [downmix.mix(np.stack([hum, sign * hum])) for sign in (1, 1, -1, -1, -1, 1, 1, 1)]
    steps = np.abs(np.diff(np.concatenate(blocks).astype(int)))
    assert steps.max() < 2 * np.abs(np.diff(hum.astype(int))).max()
    assert np.array_equal(np.abs(blocks[4][FADE:]), np.abs(hum[FADE:]))


def test_talkers_in_channels_of_their_own_are_left_as_they_are() -> None:
    both = sound(2)
    downmix = Downmix(["FL", "FR"])
    mix = np.concatenate([downmix.mix(part) for part in np.array_split(both, 4, axis=1)])
    assert np.abs(mix - both.mean(axis=0)).max() <= 0.5


def test_channels_for_low_frequencies_alone_are_better_than_none() -> None:
    one = sound(1)
    assert Downmix(["LFE", "LFE2"]).mix(np.concatenate([one, one])).any()
