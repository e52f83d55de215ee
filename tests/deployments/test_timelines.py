"""Timelines and corrections of sessions that have many, at the door. Without models."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from deployments.context import TIMELINES
from deployments.routes import speakers
from pipeline import published
from pipeline.events import HopHeard, TurnUpdated
from pipeline.session import NewSession
from pipeline.timeline import Timeline, Turn
from tests.deployments.doors import ASKED, application, client
from tests.pipeline.test_published import correct


async def test_a_few_timelines_are_made_at_once_beside_all_else(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were folded, checked and written out in the loop that takes in everybody's sound, as many as were asked."""
    api = application(url, tmp_path)
    context, making, most, threads = api.state.context, 0, 0, set()
    timeline, fold, document, chunk = context.store.timeline, published._fold, Timeline.document, Timeline.chunk

    async def slowly(*args: Any) -> Timeline:
        nonlocal making, most
        most = max(most, making := making + 1)
        await asyncio.sleep(0.05)
        try:
            return await timeline(*args)  # type: ignore[no-any-return]
        finally:
            making -= 1

    def noted(work: Any) -> Any:
        def done(*args: Any) -> Any:
            threads.add(threading.current_thread())
            return work(*args)

        return done

    monkeypatch.setattr(context.store, "timeline", slowly)
    monkeypatch.setattr(published, "_fold", noted(fold))
    monkeypatch.setattr(Timeline, "document", noted(document))
    monkeypatch.setattr(Timeline, "chunk", noted(chunk))
    async with client(api) as http:
        session = (await http.post("/v1/sessions", json=ASKED)).json()
        turn = Turn(id=0, speaker=1, start=1, end=2, final=True)
        told = [TurnUpdated(turn=turn, heard_until=31), HopHeard(speech=True, heard_until=31)]
        await context.store.publish(session["id"], 1, told)
        path, key = f"/v1/sessions/{session['id']}", {"Authorization": f"Bearer {session['viewer_key']}"}
        answers = await asyncio.gather(*(http.get(path, headers=key) for _ in range(3 * TIMELINES)))
        assert {answer.status_code for answer in answers} == {200}
        known = answers[0].json()
        assert (known["session"]["id"], known["speakers"], known["heard_until"]) == (session["id"], [1], 31)
        assert known["turns"] == [turn.model_dump()]
        stretch = {"start_times": [1.0], "end_times": [2.0], "emotion": ["unsure"]}
        assert (await http.get(f"{path}/chunks/0", headers=key)).json() == {"1": stretch}
    assert most == TIMELINES
    assert threading.main_thread() not in threads
    assert len(threads) == 1


async def test_a_session_takes_only_so_many_corrections(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is kept, and made again whenever the session is restored: one key could hold an actor up for good."""
    monkeypatch.setattr(speakers, "MOST_CORRECTIONS", 2)
    api = application(url, tmp_path)
    context, numbers = api.state.context, iter(range(1, 9))
    async with client(api) as http:
        session = (await http.post("/v1/sessions", json=ASKED)).json()
        known = NewSession(session["id"], session["recorder_key"], session["viewer_key"])

        async def keep(*_: Any) -> None:
            number = next(numbers)
            await correct(context.store, known, number, after=0, token=str(number))

        context.pool.correct = keep
        path, key = f"/v1/sessions/{known.id}/speakers/1", {"Authorization": f"Bearer {known.recorder_key}"}
        asked = [await http.patch(path, json={"name": "Anna"}, headers=key) for _ in range(3)]
        asked += [await http.post(f"{path}/merge", json={"into": 2}, headers=key)]
    assert [answer.status_code for answer in asked] == [200, 200, 409, 409]
    assert asked[-1].json()["detail"] == "A session takes 2,000 corrections, and this one has had them."
