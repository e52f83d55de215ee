"""How one speaker usually sounds, learnt while they speak, so that a reading can be set against it.

Voices differ more from person to person than from mood to mood: one person's calm is as low as another's sadness.
What a speaker has said so far tells where their voice rests and how far it moves, and a fragment heard against that
is heard right far more often than one heard alone (the model card tells how much).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.timeline import EmotionReading

Array = NDArray[np.float32]

PRIOR_SECONDS: Final = 8.0  # of speech, after which a speaker's own statistics weigh as much as everybody's


@dataclass(frozen=True, slots=True)
class SpeakerBaseline:
    """The statistics of one speaker's embeddings, each weighted by the seconds of speech that it stands for.

    Embeddings are standardised over all speakers in training, so nobody's baseline is 0 with a deviation of 1.
    Baselines of two stretches of speech add up to that of both.
    """

    seconds: float
    total: Array  # (size,) the sum of embeddings times seconds
    squares: Array  # (size,) the sum of their squares times seconds

    @classmethod
    def unknown(cls, size: int) -> SpeakerBaseline:
        """Of somebody who has not spoken yet."""
        return cls(0.0, np.zeros(size, np.float32), np.zeros(size, np.float32))

    @classmethod
    def of(cls, embeddings: Array, seconds: Array) -> SpeakerBaseline:
        """Of embeddings, (n, size), that stand for so many seconds of speech each, (n,)."""
        weights = seconds.astype(np.float32)
        return cls(float(weights.sum()), weights @ embeddings, weights @ np.square(embeddings))

    def __add__(self, other: SpeakerBaseline) -> SpeakerBaseline:
        return SpeakerBaseline(self.seconds + other.seconds, self.total + other.total, self.squares + other.squares)

    @property
    def trust(self) -> float:
        """How far the speaker's own statistics count, 0 (not at all) to 1."""
        return self.seconds / (self.seconds + PRIOR_SECONDS)

    def normalise(self, embedding: Array) -> Array:
        """The embedding, (size,), in deviations from where the speaker's lie.

        Mean and variance are the speaker's own and everybody's, weighted by the seconds heard and `PRIOR_SECONDS`, so
        that it works from the first word on. The mean is the posterior one under a conjugate prior (Murphy 2007,
        Conjugate Bayesian analysis of the Gaussian distribution, section 2).
        """
        weight = self.seconds + PRIOR_SECONDS
        mean = self.total / weight
        variance = (self.squares - 2 * mean * self.total + self.seconds * np.square(mean) + PRIOR_SECONDS) / weight
        normalised: Array = (embedding - mean) / np.sqrt(np.maximum(variance, 1e-4))
        return normalised


class SpeakerBaselines:
    """How each speaker of one conversation usually sounds.

    What was said in turns that are final is part of a speaker's statistics. Of turns that may still change hands the
    embeddings themselves are kept, by the start of their reading.
    """

    def __init__(self, size: int) -> None:
        """`size`: numbers in an embedding."""
        self._size = size
        self._final: dict[int, SpeakerBaseline] = {}
        self._embeddings: dict[float, NDArray[np.float16]] = {}

    def keep(self, start: float, embedding: Array) -> None:
        """The embedding, (size,), of the reading that starts at so many seconds."""
        self._embeddings[start] = embedding.astype(np.float16)  # half the snapshot

    def of(self, speaker: int, readings: Sequence[EmotionReading]) -> SpeakerBaseline:
        """A speaker's, from turns that are final and from these readings, as far as they are not part of those."""
        return self._known(speaker) + self._heard(readings)

    def finish(self, speaker: int, readings: Sequence[EmotionReading]) -> None:
        """A turn is final, with these readings: they join its speaker's statistics."""
        self._final[speaker] = self.of(speaker, readings)
        for reading in readings:
            self._embeddings.pop(reading.start, None)

    def join(self, kept: int, merged: int) -> None:
        """Two speakers are one from now on."""
        if (known := self._final.pop(merged, None)) is not None:
            self._final[kept] = self._known(kept) + known

    def forget_before(self, instant: float) -> None:
        """Embeddings from before so many seconds, which are of speech that turned out to be nobody's."""
        for start in [start for start in self._embeddings if start < instant]:
            del self._embeddings[start]

    def pack(self) -> dict[str, Any]:
        """All of it, for `pipeline.snapshot`."""
        return {
            "embeddings": self._embeddings,
            "baselines": {speaker: asdict(baseline) for speaker, baseline in self._final.items()},
        }

    def unpack(self, state: dict[str, Any]) -> None:
        """Go on from what `pack` gave."""
        self._embeddings = state["embeddings"]
        self._final = {speaker: SpeakerBaseline(**row) for speaker, row in state["baselines"].items()}

    def _known(self, speaker: int) -> SpeakerBaseline:
        return self._final.get(speaker, SpeakerBaseline.unknown(self._size))

    def _heard(self, readings: Sequence[EmotionReading]) -> SpeakerBaseline:
        here = [reading for reading in readings if reading.start in self._embeddings and not reading.mixed]
        if not here:
            return SpeakerBaseline.unknown(self._size)
        embeddings = np.stack([self._embeddings[reading.start] for reading in here]).astype(np.float32)
        return SpeakerBaseline.of(embeddings, np.array([reading.duration for reading in here]))
