"""A round comes to its end, whatever happens in it, and takes nothing from the others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.events import SessionEnded
from tests.chaos import play
from tests.chaos.faults import FEWEST_BREAKS, Fault, Scene, _reconnect
from tests.chaos.load import Said, Talk
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


async def reconnected(breaks: int) -> None:
    over = Talk(Said(silence(1.0), {}))
    over.events = [SessionEnded(heard_until=1.0)]
    recorder: Any = SimpleNamespace(breaks=[1006] * breaks, interrupt=lambda: None)
    over.recorder = recorder
    anything: Any = None
    async with asyncio.timeout(2):
        await _reconnect(Scene(anything, anything, random.Random(1), [over], anything, anything))


async def test_a_line_breaks_no_more_once_its_talk_is_over() -> None:
    await reconnected(breaks=FEWEST_BREAKS)


async def test_a_line_that_hardly_broke_has_shown_nothing() -> None:
    with pytest.raises(AssertionError, match="the talk was over after 9 of 20 breaks"):
        await reconnected(breaks=FEWEST_BREAKS - 1)
