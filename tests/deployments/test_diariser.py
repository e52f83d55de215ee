"""The diariser's replica: calls of several session actors at once, each answered from its own sound."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from deployments.diariser import THREADS, Diariser
from deployments.settings import Settings
from pipeline.diarisation import DiariserState, Observation, Stretch


def stretch(start: int) -> Stretch:
    return Stretch(np.zeros(8_000, np.int16), start, DiariserState())


async def test_calls_are_heard_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(THREADS, timeout=10)

    def observe(stretches: Sequence[Stretch]) -> list[Observation]:
        together.wait()  # breaks where the others are not under way
        return [Observation([], [], DiariserState(cut=one.start)) for one in stretches]

    diariser = Diariser(Settings())
    monkeypatch.setattr(diariser._diariser, "observe", observe)
    answers = await asyncio.gather(*(diariser.observe([stretch(number)]) for number in range(THREADS)))
    assert [answer[0].state.cut for answer in answers] == list(range(THREADS))
