"""Whether a crowd would notice, if hops went missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from deployments.client import RecordingRefused
from pipeline.events import HopHeard
from tests.service import silence
from tests.soak import crowd
from tests.soak.crowd import hops_until, lags_of


def test_one_event_may_tell_of_several_hops() -> None:
    assert lags_of([(0.5, 0.1), (1.5, 0.2), (1.8, 0.3)]) == pytest.approx([0.1, 0.7, 0.2, 0.3])
    assert hops_until(1.8) == 4


def test_an_event_that_skips_more_than_are_ever_heard_together_has_lost_some() -> None:
    assert len(lags_of([(0.5, 0.1), (2.0, 0.1)])) == hops_until(2.0) == 4
    assert len(lags_of([(0.5, 0.1), (4.0, 0.1)])) == hops_until(4.0) - 4


def test_a_last_hop_that_ends_where_the_one_before_it_did_is_none() -> None:
    assert len(lags_of([(0.5, 0.1), (1.0, 0.1), (1.0, 0.1)])) == hops_until(1.0) == 2


async def test_hops_that_were_heard_together_are_not_missing_and_a_full_machine_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Heard:
        async def events(self) -> AsyncIterator[tuple[str, HopHeard]]:
            for until in (1.0, 2.0):
                yield "0-1", HopHeard(heard_until=until, speech=False, arrived_at=5.0, published_at=5.1)

    class Recording:
        def __init__(self, session: Heard) -> None:
            self.breaks = [1013, 1006]
            self.welcomed = asyncio.Event()

        async def record(self, frames: AsyncIterator[bytes]) -> None:
            if gone:
                raise RecordingRefused(4404, "Gone.")
            said = asyncio.create_task(anext(frames))
            await asyncio.sleep(0.05)
            assert not said.done(), "who is not let in yet says nothing"
            self.welcomed.set()
            await said

    gone: list[bool] = []
    full = httpx.HTTPStatusError("full", request=httpx.Request("POST", "/"), response=httpx.Response(503))
    answers: list[Heard | Exception] = [full, Heard()]

    async def opened(*_: object) -> Heard:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(crowd, "open_session", opened)
    monkeypatch.setattr(crowd, "Recorder", Recording)
    monkeypatch.setattr(crowd, "AGAIN_SECONDS", 0.0)
    service: Any = SimpleNamespace(api="")
    people = crowd.Crowd(service, silence(0.5), seed=1)
    await people._session(silence(2.5))
    assert (people.refused, people.sessions, people.missing) == (2, 1, 1)
    assert people.lags == pytest.approx([0.6, 0.1, 0.6, 0.1])
    gone.append(True)
    answers.append(Heard())
    await people._session(silence(2.5))
    assert people.sessions == 1
    assert people.broken == ["RecordingRefused: Gone."]
