"""Several channels to one, so that whoever is heard in any of them is heard in the mix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.timeline import SAMPLE_RATE

FADE: Final = SAMPLE_RATE // 100  # samples over which a channel is turned round: too short to be a gap, and no click
OPPOSED, ALIKE = -0.8, -0.5  # correlations below which a channel is turned round, and above which it is turned back


class Downmix:
    """The mean of the channels, block by block. It cannot clip, and what is alike in all of them keeps its level.

    libswresample weighs by what the layout says: it drops the low-frequency channel, puts the talker in the centre of
    5.1 below a fifth, and mixes a layout that it does not know as if it were one that it does. Here all channels but
    one for low frequencies alone count the same. And where two are each other's opposite (a microphone that is wired
    the wrong way round), their sum would be silence: a channel that runs against the loudest is turned round first.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """`names`: FFmpeg's of the channels, by which the low-frequency one is known."""
        heard = [number for number, name in enumerate(names) if not name.startswith("LFE")]
        self._heard = heard or list(range(len(names)))
        self._products = np.zeros((len(self._heard), len(self._heard)))  # of each two channels, of late
        self._signs: NDArray[np.float32] | None = None

    def mix(self, block: NDArray[np.int16]) -> NDArray[np.int16]:
        """From int16 (channels, n) to int16 (n,)."""
        if len(block) == 1:
            return np.asarray(block[0])
        sound = block[self._heard].astype(np.float32)
        before, signs = self._signs, self._turned(sound)
        self._signs = signs
        mix = signs @ sound
        if before is not None and not np.array_equal(before, signs):
            fade = np.clip(np.arange(sound.shape[1], dtype=np.float32) / FADE, 0, 1)
            mix = fade * mix + (1 - fade) * (before @ sound)
        return np.asarray(np.clip(np.rint(mix / len(sound)), -32_768, 32_767), np.int16)

    def _turned(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sign of each channel, by the last second or so."""
        self._products *= 0.25 ** (sound.shape[1] / SAMPLE_RATE)
        self._products += sound @ sound.T
        power = np.diag(self._products)
        loudest = int(np.argmax(power))
        alike = self._products[loudest] / np.sqrt(np.maximum(power * power[loudest], 1.0))
        signs = np.ones(len(sound)) if self._signs is None else self._signs * self._signs[loudest]
        return np.where(alike < OPPOSED, -1, np.where(alike > ALIKE, 1, signs)).astype(np.float32)
