"""A round comes to its end, whatever happens in it, and takes nothing from the others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from pipeline.events import SessionEnded
from tests.chaos import play
from tests.chaos.faults import BREAKS, Fault, Scene, _reconnect
from tests.chaos.load import Said, Talk
from tests.chaos.stage import Stage
from tests.service import silence


class Content:
    """Somebody who talks, or uploads, of whom all is as it should be."""

    def __init__(self, *_: object) -> None:
        self.heard = 100.0
        self.recovered: float | None = None
        self.told: list[str] = []
        self.refused: list[int] = []
        self.done = 1
        self.enough = False

    async def run(self, api: str, after: float = 0.0) -> None:
        await asyncio.sleep(0)

    def strike(self) -> None:
        pass

    async def recover(self, since: float) -> None:
        self.recovered = 0.1

    async def further(self, since: float) -> float:
        return 0.1

    wrong: Any = list


class Uploading(Content):
    wrong: Any = []


class Lost(Content):
    """Somebody who is never heard again."""

    async def recover(self, since: float) -> None:
        await asyncio.Event().wait()


class Restless(SimpleNamespace):
    """A stage that is whole only the second time that one waits for it."""

    async def settle(self) -> None:
        self.waits = getattr(self, "waits", 0) + 1
        if self.waits == 1:
            raise AssertionError("not whole again after 120 s: the page does not answer")


async def nothing(scene: Scene) -> None:
    pass


async def endless(scene: Scene) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "Talk", Content)
    monkeypatch.setattr(play, "Uploads", Uploading)
    monkeypatch.setattr(play, "MOST_SECONDS", 0.2)


async def played(fault: Fault) -> play.Outcome:
    stage: Any = SimpleNamespace(service=SimpleNamespace(api=""))
    script: Any = SimpleNamespace(talks=[None])
    async with asyncio.timeout(5):
        return await play.play(fault, stage, script, 1.0, seed=1)


@pytest.mark.usefixtures("content")
async def test_a_round_in_which_all_is_well_has_nothing_wrong() -> None:
    outcome = await played(Fault("calm", "nothing happens", nothing))
    assert outcome.wrong == []
    assert outcome.recovered is not None
    assert outcome.in_time


@pytest.mark.usefixtures("content")
@pytest.mark.parametrize("uploads", [True, False])
async def test_what_broke_an_upload_is_over_once_that_gets_further(
    monkeypatch: pytest.MonkeyPatch, uploads: bool
) -> None:
    class Slower(Uploading):
        async def further(self, since: float) -> float:
            return 0.15

    monkeypatch.setattr(play, "Uploads", Slower)
    outcome = await played(Fault("worker", "a worker goes", nothing, uploads=uploads))
    assert outcome.on == 0.15
    assert outcome.recovered is not None
    assert (outcome.recovered >= 0.15) is uploads


@pytest.mark.usefixtures("content")
async def test_an_upload_that_never_gets_further_is_no_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Uploading):
        async def further(self, since: float) -> float:
            return await asyncio.Event().wait()

    monkeypatch.setattr(play, "Uploads", Stuck)
    outcome = await played(Fault("worker", "a worker goes", nothing, uploads=True))
    assert (outcome.recovered, outcome.on) == (None, None)


@pytest.mark.parametrize(
    ("running", "parts", "controlled"),
    [
        ({7: "ray::ServeController"}, {"diariser": "ok"}, False),
        ({7: "ray::ServeController", 8: "ray::ServeController"}, {"diariser": "ok"}, True),
        ({8: "ray::ServeController"}, {"diariser": "degraded: Serve's controller does not answer"}, False),
        ({}, {"diariser": "ok"}, False),
    ],
)
def test_a_controller_that_was_killed_is_none(
    monkeypatch: pytest.MonkeyPatch, running: dict[int, str], parts: dict[str, str], controlled: bool
) -> None:
    service: Any = SimpleNamespace(api="http://nowhere", processes=lambda: running)
    anything: Any = None
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, json={"parts": parts}))
    assert Stage(service, anything, anything, Path(), killed={7}).controlled() is controlled


@pytest.mark.usefixtures("content")
async def test_a_fault_that_does_not_end_ends_its_round() -> None:
    outcome = await played(Fault("endless", "a fault without end", endless))
    assert outcome.wrong == ["it did not go on: TimeoutError()"]
    assert outcome.recovered is None


@pytest.mark.usefixtures("content")
async def test_somebody_who_never_comes_back_fails_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "Talk", Lost)
    outcome = await played(Fault("calm", "nothing happens", nothing))
    assert outcome.recovered is None
    assert outcome.wrong == ["not everything was back after 0.2 s"]


@pytest.mark.usefixtures("content")
async def test_only_what_says_come_again_counts_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(Uploading):
        def __init__(self, *_: object) -> None:
            super().__init__()
            self.refused = [503, 500]

    monkeypatch.setattr(play, "Uploads", Refused)
    outcome = await played(Fault("calm", "nothing happens", nothing))
    assert outcome.told == ["503"]
    assert [wrong for wrong in outcome.wrong if "status 500" in wrong]


@pytest.mark.usefixtures("content")
def test_what_is_not_whole_again_fails_its_own_round_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def stage(folder: Path) -> Iterator[Any]:
        yield Restless(service=SimpleNamespace(api=""))

    async def rehearse(*_: object) -> Any:
        return SimpleNamespace(talks=[None])

    monkeypatch.setattr(play, "stage", stage)
    monkeypatch.setattr(play, "rehearse", rehearse)
    kept: list[int] = []
    faults = [Fault("first", "the first", nothing), Fault("second", "the second", nothing)]
    figures = play.run(faults, 1.0, 1, lambda step: None, lambda figures: kept.append(len(figures["outcomes"])))
    assert [outcome["wrong"] for outcome in figures["outcomes"]] == [
        ["not whole again after 120 s: the page does not answer"],
        [],
    ]
    assert kept == [1, 2]


async def reconnected(lines: int) -> int:
    """How often a line was broken in a talk that is over after so many."""
    talk = Talk(Said(silence(1.0), {}))

    def interrupt() -> None:
        recorder.breaks.append(1006)
        if len(recorder.breaks) == lines:
            talk.events.append(SessionEnded(heard_until=1.0))

    recorder: Any = SimpleNamespace(breaks=[], interrupt=interrupt)

    def begin(begun: Talk) -> None:
        nonlocal talk
        talk = begun
        talk.recorder, talk.heard = recorder, 0.5

    anything: Any = None
    script: Any = SimpleNamespace(talks=[Said(silence(1.0), {})])
    async with asyncio.timeout(5):
        await _reconnect(Scene(anything, script, random.Random(1), [], anything, begin))
    return talk.breaks


async def test_a_line_breaks_so_often_and_then_holds() -> None:
    assert await reconnected(lines=30) == BREAKS


async def test_a_talk_that_was_over_before_has_not_shown_it() -> None:
    with pytest.raises(AssertionError, match="the talk was over after 19 of 20 breaks"):
        await reconnected(lines=BREAKS - 1)
