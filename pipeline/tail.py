"""The newest sound of a conversation: what somebody may still have to hear again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Tail:
    """Samples of a conversation from `start` on, int16 (n,); those before it are forgotten."""

    pcm: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    start: int = 0

    @property
    def end(self) -> int:
        """All samples so far, forgotten ones included."""
        return self.start + len(self.pcm)

    def add(self, pcm: NDArray[np.int16]) -> None:
        """Take in what follows."""
        self.pcm = np.concatenate([self.pcm, pcm])

    def between(self, start: int, end: int) -> NDArray[np.int16]:
        """The samples [start, end) of the conversation, as far as they are not forgotten."""
        return self.pcm[max(0, start - self.start) : end - self.start]

    def forget_before(self, sample: int) -> None:
        """Let go of what came before a sample."""
        if sample > self.start:
            self.pcm, self.start = self.between(sample, self.end).copy(), sample
