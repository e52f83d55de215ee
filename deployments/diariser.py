"""Who speaks, as a deployment: the local diariser behind a handle. It keeps nothing between calls."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.diarisation import Observation, Stretch
from pipeline.diarisation.local import LocalDiariser


class Diariser:
    """Observes hops of many sessions in one call; the voiceprints of all of them are encoded together."""

    def __init__(self) -> None:
        self._diariser = LocalDiariser()
        self._diariser.warm_up()

    async def observe(self, stretches: Sequence[Stretch]) -> list[Observation]:
        """One observation a stretch, in order."""
        return self._diariser.observe(stretches)
