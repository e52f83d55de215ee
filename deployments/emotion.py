"""How they sound, as a deployment: the emotion model behind a batched handle, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from ray import serve

from deployments.aside import Aside
from deployments.metrics import BATCHES
from deployments.settings import Settings
from pipeline.emotion import EmotionModel
from pipeline.logs import speak

Audio = NDArray[np.int16]
Embedding = NDArray[np.float32]


class EmotionRecogniser:
    """Hears the fragments of many sessions at once; Serve joins the calls of several session actors."""

    def __init__(self, settings: Settings) -> None:
        speak("emotions", settings.log_format, settings.log_level)
        self._model = EmotionModel.load()
        self._model.warm_up()
        self._aside = Aside()

    async def hear(self, fragments: Sequence[Audio]) -> list[Embedding]:
        """The embeddings of a recording's fragments, in order, heard aside: nobody who talks has to wait for them."""
        return await self._aside(self._model.embed, fragments)

    @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.005)
    async def embed(self, calls: list[Sequence[Audio]]) -> list[list[Embedding]]:
        """For each call its embeddings, in order. A fragment: int16 (n,), mono at 16 kHz."""
        fragments = [audio for call in calls for audio in call]
        BATCHES.observe(len(fragments), {"model": "emotion"})
        embeddings = iter(self._model.embed(fragments))
        return [[next(embeddings) for _ in call] for call in calls]
