"""Whether a soak would say so, if something grew or went missing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from deployments.client import RecordingRefused
from pipeline.events import HopHeard
from tests import soak
from tests.benchmarks.examples import MACHINE
from tests.service import ROOT, silence
from tests.soak import Held, Look, compared, hops_until, lags_of, table, verdict


def figures(*held: Held, missing: int = 0) -> dict[str, Any]:
    return {
        **MACHINE,
        "minutes": 60.0,
        "at_once": 24,
        "sessions": 700,
        "uploads": 30,
        "refused": 0,
        "missing": missing,
        "broken": [],
        "ended": [],
        "lag": {"p50": 0.1, "p95": 0.2, "p99": 0.3},
        "held": [asdict(each) for each in held],
    }


def test_the_end_is_compared_with_what_was_there_once_all_had_come() -> None:
    looks: list[Look] = [{"page": {"files": float(files)}} for files in (1, 90, 10, 12, 14, 16, 18, 20, 22, 24)]
    looks[-1]["newcomer"] = {"files": 5.0}
    assert compared(looks) == [Held("page", "files", early=10.0, late=24.0)]


def test_what_comes_and_goes_is_no_growth_and_what_comes_slowly_is() -> None:
    """Two fifths of the time used to be looked at by nobody."""
    tides = [{"page": {"files": 100.0 + 30.0 * (number % 5)}} for number in range(120)]
    (held,) = compared(tides)
    assert abs(held.growth) < 0.02
    steps = [{"page": {"files": 100.0 + 12.0 * (number // 30)}} for number in range(120)]
    (held,) = compared(steps)
    assert held.grew


@pytest.mark.parametrize(
    ("held", "grew"),
    [
        (Held("page", "memory, MB", 100, 111), True),
        (Held("page", "memory, MB", 100, 110), False),
        (Held("page", "memory, MB", 1_000, 1_090), False),
        (Held("page", "memory, MB", 20, 29), False),
        (Held("page", "files", 20, 31), True),
        (Held("page", "files", 20, 30), False),
        (Held("page", "threads", 10, 21), True),
        (Held("page", "threads", 10, 20), False),
        (Held("data in Redis", "keys", 100, 151), True),
        (Held("data in Redis", "keys", 100, 150), False),
        (Held("data in Redis", "keys", 0, 51), True),
        (Held("page", "memory, MB", 200, 100), False),
    ],
)
def test_something_grew_by_its_share_and_by_more_than_chance(held: Held, grew: bool) -> None:
    assert bool(verdict(figures(held))) is grew


def test_what_does_not_hold_is_said_in_sentences() -> None:
    found = figures(Held("page", "files", 20, 40), Held("proxy", "files", 20, 20), missing=3)
    assert verdict(found | {"broken": ["RecordingRefused: Gone."], "ended": ["Ingress"]}) == [
        "3 hops are missing.",
        "Ended before its time: RecordingRefused: Gone.",
        "Another Ingress runs at the end than in the beginning.",
        "page: files grew from 20 to 40 (+100 %).",
    ]


def test_only_processes_that_are_to_last_are_known_by_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = {
        3: ["ray::ServeReplica:tonetrack:Ingress.handle_request"],
        5: ["ray::ServeReplica:tonetrack:RecordingWorker"],
        4: ["python", "-m", "ui.server"],
        9: [],
    }
    monkeypatch.setattr(soak.psutil, "Process", lambda pid: SimpleNamespace(cmdline=lambda: commands[pid]))
    service: Any = SimpleNamespace(processes=lambda: commands)
    assert soak.living(service) == {"Ingress": [3], "ui.server": [4]}


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

    monkeypatch.setattr(soak, "open_session", opened)
    monkeypatch.setattr(soak, "Recorder", Recording)
    monkeypatch.setattr(soak, "AGAIN_SECONDS", 0.0)
    service: Any = SimpleNamespace(api="")
    people = soak.Crowd(service, silence(0.5), seed=1)
    await people._session(silence(2.5))
    assert (people.refused, people.sessions, people.missing) == (2, 1, 1)
    assert people.lags == pytest.approx([0.6, 0.1, 0.6, 0.1])
    gone.append(True)
    answers.append(Heard())
    await people._session(silence(2.5))
    assert people.sessions == 1
    assert people.broken == ["RecordingRefused: Gone."]


def test_the_command_prints_a_report_and_starts_nothing(tmp_path: Path) -> None:
    known = figures(Held("page", "files", 20, 20))
    report = tmp_path / "soak.json"
    report.write_text(json.dumps(known))
    asked = [sys.executable, "-m", "tests.soak", "--readme", str(report)]
    ran = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == table(known).markdown() + "\n"
    assert "| page |  | 20 to 20 (+0 %) |  |  |" in ran.stdout
    assert "0 hops are missing; lag 0.10 s" in ran.stdout
    assert "Nothing grew." in ran.stdout
