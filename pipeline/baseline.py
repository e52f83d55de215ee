"""How one speaker usually sounds, learnt while they speak, so that a reading can be set against it.

Voices differ more from person to person than from mood to mood: one person's calm is as low as another's sadness.
What a speaker has said so far tells where their voice rests and how far it moves, and a fragment heard against that
is heard right far more often than one heard alone (the model card tells how much).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

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
