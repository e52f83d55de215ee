"""Who is listened to among those who talk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from deployments.client import Recorder, RecordingRefused, Session
from tests.benchmarks.crowd import TALKS, Crowd, Stream, as_heard
from tests.benchmarks.figures import ORDERLY, Heard


async def test_only_those_who_were_there_are_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    there, newcomer = (
        Stream(Session("http://nowhere", name, "", ""), sent_at=[10.0, 10.5]) for name in ("there", "newcomer")
    )
    told = {"there": {0: Heard(10.0, 10.0, 10.1)}, "newcomer": {0: Heard(10.0, 10.0, 14.0)}}
    service: Any = None
    crowd = Crowd(service, np.zeros(16_000, np.int16))
    crowd.streams = [there, newcomer]
    monkeypatch.setattr(crowd, "hops", lambda stream: told[stream.session.id])
    hops, unheard = await crowd.heard(11.0, [there])
    assert [hop.published_at for hop in hops] == [10.1]
    assert unheard == [10.5]


def test_what_was_sent_before_anybody_listened_does_not_count() -> None:
    late, soon = Heard(9.0, 9.0, 12.0), Heard(10.0, 10.1, 10.3, together=2)
    told = as_heard([late, soon, soon], [9.5], since=10.0)
    assert (told["count"], told["kept_up"]) == (2, 1.0)
    assert told["p95"] == pytest.approx(0.2)
    assert told["sent_p95"] == pytest.approx(0.3)
    assert told["every"] == 1.0


@pytest.mark.parametrize(("headers", "orderly"), [({"Retry-After": "30"}, True), ({}, False)])
async def test_who_is_not_told_when_to_come_again_is_refused_out_of_order(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], orderly: bool
) -> None:
    async def full(*_: object) -> Session:
        answer = httpx.Response(503, headers=headers)
        raise httpx.HTTPStatusError("full", request=httpx.Request("POST", "/"), response=answer)

    monkeypatch.setattr("tests.benchmarks.crowd.open_session", full)
    service: Any = SimpleNamespace(api="")
    crowd = Crowd(service, np.zeros(16_000, np.int16))
    await crowd._begin(None)
    assert (set(crowd.refused) <= ORDERLY) is orderly


NEWCOMER = Session("http://nowhere", "newcomer", "", "")
SERVICE: Any = SimpleNamespace(api="")


@pytest.mark.parametrize(("code", "called"), [(1013, "busy"), (4401, "wrong_key"), (1006, "1006")])
async def test_who_is_sent_away_does_not_count_among_those_who_talk(
    monkeypatch: pytest.MonkeyPatch, code: int, called: str
) -> None:
    """One who came back, time after time, used to, and was heard by nobody."""

    class SentAway(Recorder):
        async def record(self, frames: AsyncIterator[bytes]) -> float:
            assert not self._patient
            raise RecordingRefused(code, "No.")

    monkeypatch.setattr("tests.benchmarks.crowd.Recorder", SentAway)
    crowd = Crowd(SERVICE, np.zeros(16_000, np.int16))
    assert await crowd.join(1, [NEWCOMER]) == 0
    assert (crowd.streams, dict(crowd.refused)) == ([], {called: 1})


async def test_of_a_crowd_each_says_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[bytes] = []

    class LetIn(Recorder):
        async def record(self, frames: AsyncIterator[bytes]) -> float:
            await asyncio.sleep(0.01)
            self.welcomed.set()
            said.append(await anext(frames))
            return 0.0

    monkeypatch.setattr("tests.benchmarks.crowd.Recorder", LetIn)
    monkeypatch.setattr("tests.benchmarks.crowd.PAUSE_SECONDS", 0.0)
    noise = np.random.default_rng(1).integers(-9_000, 9_000, 60 * 16_000, np.int16)
    crowd = Crowd(SERVICE, noise)
    assert await crowd.join(TALKS, [NEWCOMER] * TALKS) == TALKS
    await asyncio.gather(*(stream.task for stream in crowd.streams if stream.task))
    assert len(set(said)) == TALKS
