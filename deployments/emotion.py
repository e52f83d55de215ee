"""How they sound, as a deployment: the emotion model behind a batched handle, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from ray import serve

from pipeline.emotion import EmotionModel
from pipeline.fragments import Impression

Audio = NDArray[np.int16]


class EmotionRecogniser:
    """Reads the fragments of many sessions at once; Serve joins the calls of several session actors."""

    def __init__(self) -> None:
        self._model = EmotionModel.load()
        self._model.warm_up()

    @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.005)
    async def read(self, calls: list[Sequence[Audio]]) -> list[list[Impression]]:
        """For each call its impressions, in order. A fragment: int16 (n,), mono at 16 kHz."""
        impressions = iter(self._model.read([audio for call in calls for audio in call]))
        return [[next(impressions) for _ in call] for call in calls]
