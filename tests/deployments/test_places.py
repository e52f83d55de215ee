"""How many at once: lines, recorders, recordings and event streams, of a caller or a session. Without models."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from deployments import door
from deployments.protocol import Hello
from deployments.routes import audio
from deployments.sessions import open_store
from deployments.settings import Settings
from pipeline.api_keys import ApiKeys
from pipeline.events import SessionEnded
from pipeline.published import session_key
from pipeline.store import connect
from tests.deployments.doors import ASKED, HOST, application, client, hello
from tests.service import silence
from tests.uploads import SAID, wav_of


async def test_more_event_streams_than_a_session_may_have_wait(url: str, tmp_path: Path) -> None:
    api = application(url, tmp_path, streams_per_session=1)
    gate, store = api.state.context.gate, api.state.context.store
    async with client(api) as http:
        session = (await http.post("/v1/sessions", json=ASKED)).json()
        path, key = f"/v1/sessions/{session['id']}/events", {"Authorization": f"Bearer {session['viewer_key']}"}
        await store.publish(session["id"], 1, [SessionEnded(heard_until=1.0)])  # so that streams end
        await gate.hold_stream("somebody's", "192.0.2.2", session["id"])
        refused = await http.get(path, headers=key)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
        assert refused.json()["detail"] == (
            "This session has as many event streams open as it may: 1; close one. Try again in 30 s."
        )
        await gate.let_go_of_stream("somebody's", "192.0.2.2", session["id"])
        for _ in range(2):  # each lets go of its own
            assert "session.ended" in (await http.get(path, headers=key)).text


async def test_more_event_streams_than_an_address_may_follow_wait(url: str, tmp_path: Path) -> None:
    """Each takes one of the places that recorders need, on whatever session or recording it is.

    Whoever is refused takes none of the session's.
    """
    api = application(url, tmp_path, streams_per_caller=1, streams_per_session=1)
    gate, store, jobs = api.state.context.gate, api.state.context.store, api.state.context.inbox.jobs
    api.state.context.inbox.enqueue = jobs.enqueued
    async with client(api) as http, client(api, "192.0.2.2") as elsewhere:
        session = (await http.post("/v1/sessions", json=ASKED)).json()
        sent = {"file": ("talk.wav", wav_of(silence(1)))}
        recording = (await http.post("/v1/recordings", data=SAID, files=sent)).json()
        await store.publish(session["id"], 1, [SessionEnded(heard_until=1.0)])  # so that streams end
        await jobs.cancel(recording["id"])
        followed = [
            (f"/v1/sessions/{session['id']}/events", {"Authorization": f"Bearer {session['viewer_key']}"}, "ended"),
            (f"/v1/recordings/{recording['id']}/events", {"Authorization": f"Bearer {recording['key']}"}, "cancelled"),
        ]
        for path, key, last in followed:
            await gate.hold_stream("somebody's", "192.0.2.1")
            refused = await http.get(path, headers=key)
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
            assert "This address has as many event streams open as it may: 1;" in refused.json()["detail"]
            assert last in (await elsewhere.get(path, headers=key)).text
            await gate.let_go_of_stream("somebody's", "192.0.2.1")
            for _ in range(2):  # each lets go of its own
                assert last in (await http.get(path, headers=key)).text


async def left(redis: Any, session: dict[str, str]) -> None:
    """Wait until no line holds a session's place: a closed line takes a moment to let go of it, in two steps."""

    async def counted() -> bool:
        places = await redis.keys("tonetrack:places:*")
        return any([await redis.zscore(name, session["id"]) is not None for name in places])

    while await redis.exists(session_key(session["id"], "place")) or await counted():
        await asyncio.sleep(0.01)


async def test_one_session_cannot_take_all_places(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines do not fence each other off, for they may all be of one recorder, whose network breaks them."""
    monkeypatch.setattr(audio, "MOST_LINES", 2)
    api = application(url, tmp_path, max_sessions=3)
    lines = api.state.context.lines
    with TestClient(api, base_url=HOST) as http, ExitStack() as stack:

        def joined(session: dict[str, str]) -> tuple[Any, dict[str, Any]]:
            line = stack.enter_context(http.websocket_connect(session["audio"]))
            line.send_text(hello(session))
            return line, line.receive_json()

        crowded, other = (http.post("/v1/sessions", json=ASKED).json() for _ in range(2))
        first, _ = joined(crowded)
        told = [joined(answer)[1] for answer in (crowded, crowded, other)]
        assert [answer.get("code", answer["type"]) for answer in told] == ["welcome", "busy", "welcome"]
        assert "close one" in told[1]["message"]
        first.close()
        deadline = time.monotonic() + 10
        while len(lines) > 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert joined(crowded)[1]["type"] == "welcome"


async def test_so_many_live_recorders_for_each_key(url: str, tmp_path: Path, keys: ApiKeys) -> None:
    api = application(url, tmp_path, require_api_keys=True, recorders_per_caller=1)
    made, other = await keys.create("clinic"), await keys.create("school")
    with TestClient(api, base_url=HOST) as http:

        def opened(secret: str) -> dict[str, str]:
            answer = http.post("/v1/sessions", json=ASKED, headers={"X-API-Key": secret})
            session: dict[str, str] = answer.json()
            return session

        first, second, third = opened(made.secret), opened(made.secret), opened(other.secret)
        with http.websocket_connect(first["audio"]) as one:
            one.send_text(hello(first))
            assert one.receive_json()["type"] == "welcome"
            with http.websocket_connect(second["audio"]) as two:
                two.send_text(hello(second))
                refused = two.receive_json()
                assert (refused["code"], "1 at once" in refused["message"]) == ("busy", True)
            with http.websocket_connect(third["audio"]) as three:
                three.send_text(hello(third))
                assert three.receive_json()["type"] == "welcome"
            with http.websocket_connect(first["audio"]) as again:
                again.send_text(hello(first))
                assert again.receive_json()["type"] == "welcome", "who comes back takes no second place"
                one.close()  # the line that was taken over
                time.sleep(0.2)  # it lets go of nothing
                with http.websocket_connect(second["audio"]) as two:
                    two.send_text(hello(second))
                    assert two.receive_json()["code"] == "busy", "the place is that of the line which records now"
                with http.websocket_connect(first["audio"]) as wrong:
                    wrong.send_text(Hello(key=first["recorder_key"], codec="webm").model_dump_json(exclude_none=True))
                    assert wrong.receive_json()["code"] == "undecodable"
                with http.websocket_connect(second["audio"]) as two:
                    two.send_text(hello(second))
                    assert two.receive_json()["code"] == "busy", "who was refused frees no place of another line"
                again.close()
                await left(keys._redis, first)
        with http.websocket_connect(second["audio"]) as two:
            two.send_text(hello(second))
            assert two.receive_json()["type"] == "welcome", "the place of who has left is free"


async def test_the_place_of_an_erased_session_is_free(url: str, tmp_path: Path, keys: ApiKeys) -> None:
    """Its id stood beside an address for as long as its recorder gave signs of life."""
    api = application(url, tmp_path, heartbeat=0.2)
    redis: Any = connect(url)
    with TestClient(api, base_url=HOST) as http:
        session = http.post("/v1/sessions", json=ASKED).json()
        with http.websocket_connect(session["audio"]) as line:
            line.send_text(hello(session))
            assert line.receive_json()["type"] == "welcome"
            (places,) = await redis.keys("tonetrack:places:*")
            assert await redis.zrange(places, 0, -1) == [session["id"].encode()]
            assert await open_store(Settings(redis_url=url)).erase(session["id"])  # type: ignore[arg-type]
            assert await redis.keys("tonetrack:places:*") == []
            time.sleep(0.25)
            line.send_text('{"type": "ping"}')
            assert line.receive_json()["code"] == "unknown_session"
    assert await redis.keys(f"*{session['id']}*") == await redis.keys("tonetrack:places:*") == []
    await redis.aclose()


async def test_so_many_recordings_of_one_caller_wait(url: str, tmp_path: Path, keys: ApiKeys) -> None:
    api = application(url, tmp_path, recordings_per_caller=2)
    jobs, redis = api.state.context.inbox.jobs, connect(url)
    api.state.context.inbox.enqueue = jobs.enqueued

    async def send(http: httpx.AsyncClient, **headers: str) -> httpx.Response:
        return await http.post(
            "/v1/recordings", data=SAID, files={"file": ("talk.wav", wav_of(silence(1)))}, headers=headers
        )

    async with client(api) as http, client(api, "192.0.2.2") as other:
        repeated = {"Idempotency-Key": "0123456789abcdef"}
        first, second = await send(http, **repeated), await send(http)
        assert (first.status_code, second.status_code) == (202, 202)
        once_more = {"Idempotency-Key": "fedcba9876543210"}
        for _ in range(2):  # what is refused may be tried again at once
            refused = await send(http, **once_more)
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
            assert refused.json()["detail"].startswith("As many recordings of this address as may wait at once do: 2.")
        assert (await send(http, **repeated)).json()["id"] == first.json()["id"]
        assert (await send(other)).status_code == 202
        await api.state.context.inbox.erase(second.json()["id"])
        assert (await send(http, **once_more)).status_code == 202, "what was erased waits no more"
        assert not await redis.keys(f"*{second.json()['id']}*")
        assert refused.headers["Connection"] == "close", "or all of a file would come for nothing"
    await redis.aclose()


async def test_a_line_that_says_nothing_gives_no_newcomer_a_turn(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any line of a session that had come in used to, even one without a key."""
    monkeypatch.setattr(door, "AT_EASE", (1, 0.0))
    monkeypatch.setattr(door, "PATIENCE", 0.2)
    with TestClient(application(url, tmp_path), base_url=HOST) as http:
        first, second = (http.post("/v1/sessions", json=ASKED).json() for _ in range(2))

        def answered(session: dict[str, str]) -> dict[str, Any]:
            with http.websocket_connect(session["audio"]) as line:
                line.send_text(hello(session))
                answer: dict[str, Any] = line.receive_json()
                return answer

        with http.websocket_connect(first["audio"]) as one:
            one.send_text(hello(first))
            assert one.receive_json()["type"] == "welcome"
            with http.websocket_connect(first["audio"]):
                pass
            time.sleep(0.1)
            assert answered(second)["code"] == "busy"
        deadline = time.monotonic() + 3  # before its turn would come anyway
        while answered(second)["type"] != "welcome":
            assert time.monotonic() < deadline


async def test_of_those_who_come_back_together_no_more_get_in_than_there_are_places(url: str, tmp_path: Path) -> None:
    api = application(url, tmp_path, max_sessions=1)
    context = api.state.context

    async def others_come(*_: Any) -> bool:
        context.pool.recorders = 1
        return False

    context.store.waits = others_come
    with TestClient(api, base_url=HOST) as http:
        session = http.post("/v1/sessions", json=ASKED).json()
        with http.websocket_connect(session["audio"]) as line:
            line.send_text(hello(session))
            assert line.receive_json()["code"] == "busy"
