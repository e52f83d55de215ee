"""What a client of chaos takes note of, and how it goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.events import HopHeard, SessionEnded, Warned
from tests.chaos import load
from tests.chaos.load import Said, Talk, _Breaks
from tests.service import Pcm, silence

TIMELINE: dict[str, Any] = {"turns": [], "readings": [], "heard_until": 8.0, "ended": True}


def talk(seconds: float = 8.0) -> Talk:
    return Talk(Said(silence(seconds), TIMELINE))


class Line:
    """A recorder whose frames all arrive, and which notes what is done to it."""

    def __init__(self, session: Any) -> None:
        self.done: list[str] = []
        self.breaks: list[int] = []
        self._first = 0
        self.session = session
        Line.last = self

    async def record(self, frames: AsyncIterator[bytes]) -> float:
        try:
            async for _ in frames:
                self._first += 1
            self.done.append("stopped")
        except asyncio.CancelledError:
            self.done.append("closed")
            raise
        return 0.0

    def interrupt(self) -> None:
        self.done.append("aborted")


@dataclass
class Heard:
    """A session of which three seconds arrived."""

    api: str

    async def events(self, after: str) -> AsyncIterator[tuple[str, Any]]:
        while not Line.last.done:
            await asyncio.sleep(0.01)
        yield "1-0", HopHeard(heard_until=3.0, speech=False)
        yield "2-0", SessionEnded(heard_until=3.0)

    async def get(self) -> Any:
        return TIMELINE | {"heard_until": 3.0}


async def test_a_client_that_vanishes_closes_nothing_and_is_held_to_what_arrived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    async def opened(*_: object) -> Heard:
        return Heard("http://127.0.0.1:9")

    async def undisturbed(api: str, pcm: Pcm) -> Said:
        asked.append(len(pcm))
        return Said(pcm, TIMELINE | {"heard_until": 3.0})

    monkeypatch.setattr(load, "open_session", opened)
    monkeypatch.setattr(load, "Recorder", Line)
    monkeypatch.setattr(load, "undisturbed", undisturbed)
    vanishing = Talk(Said(np.zeros(8 * 16_000, np.int16), TIMELINE), pace=10, vanishes=True)
    async with asyncio.timeout(5):
        await vanishing.run("http://127.0.0.1:9")
    assert Line.last.done[:2] == ["aborted", "closed"]
    assert Line.last.session.api != "http://127.0.0.1:9", "or the line would end with the client"
    assert 4.0 <= vanishing.sent < 8.0
    assert asked == [3 * 16_000]
    (lost,) = vanishing.lost  # the line said that it had all of what was sent
    assert lost.startswith("3 s are there, where 4")


def test_what_was_told_before_a_fault_is_not_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    struck = talk()
    struck.recorder = Line(None)  # type: ignore[assignment]
    breaks = struck.recorder.breaks = _Breaks(struck._tell)
    breaks.append(1006)
    assert (struck.breaks, struck.told) == (1, ["1006"])
    struck.strike()
    assert struck.told == []
    breaks.append(1011)
    assert (struck.breaks, struck.told) == (2, ["1011"])


class Watched:
    """A session whose watchers are refused twice, and then told that hearing is stuck."""

    refused = iter((500, 503))

    async def events(self, after: str) -> AsyncIterator[tuple[str, Any]]:
        for status in self.refused:
            httpx.Response(status, request=httpx.Request("GET", "http://nowhere")).raise_for_status()
        yield "1-0", Warned(code="stuck", message="")
        yield "2-0", SessionEnded(heard_until=8.0)


async def test_what_a_watcher_is_told_and_refused_with_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "AGAIN_SECONDS", 0.01)
    watched = talk()
    watched.timeline = TIMELINE
    await watched._watch(Watched())  # type: ignore[arg-type]
    assert (watched.refused, watched.told) == ([500, 503], ["stuck"])
    assert "watchers: refused 1 times with status 500, which tells nobody when to come again" in watched.wrong()


def test_whoever_heard_nothing_while_a_fault_lasted_must_be_told_although_it_is_over_at_once() -> None:
    struck = talk()
    struck.timeline = TIMELINE
    struck.strike()
    assert struck.struck_at is not None
    struck.heard_at = [struck.struck_at + 10.2, struck.struck_at + 10.7]
    struck.recovered = 0.2  # since it was over
    assert "nobody was told within 6 s of 10.2 s of silence" in struck.wrong()
    struck._tell("stuck")
    assert not any("silence" in wrong for wrong in struck.wrong())


def test_whoever_is_struck_by_nothing_need_not_be_told() -> None:
    calm = talk()
    calm.timeline = TIMELINE
    calm.heard_at = [time.monotonic(), time.monotonic() + 20]
    assert not any("silence" in wrong for wrong in calm.wrong())
