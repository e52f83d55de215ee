"""Who is let in: the application itself over a real Redis, without models."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from deployments.context import Context
from deployments.gate import REVOKED, Gate
from deployments.inbox import Inbox
from deployments.ingress import build_api
from deployments.origins import FOREIGN
from deployments.protocol import Hello, pack_frame
from deployments.sessions import open_store
from deployments.settings import Settings
from pipeline.api_keys import ApiKeys
from pipeline.events import SessionEnded
from pipeline.store import connect
from tests.service import silence
from tests.uploads import SAID, wav_of

ASKED = {"purpose": "research", "consent": True}
HOST = "http://tone.example:8000"


async def enrolled(_audio: Any) -> tuple[Any, float, str]:
    return np.ones(64, np.float32), 10.0, "v1"


def application(url: str, folder: Path, **settings: Any) -> FastAPI:
    """The API, whose diariser finds a voice in anything."""
    chosen = Settings(redis_url=url, blobs=str(folder), **settings)  # type: ignore[arg-type]
    actor: Any = SimpleNamespace(actor=lambda _: None, cadence=lambda _: 1, full=False, recorders=0)
    diariser: Any = SimpleNamespace(enrol=SimpleNamespace(remote=enrolled))
    inbox = Inbox(chosen)
    return build_api(Context(chosen, open_store(chosen), actor, diariser, inbox, Gate(chosen, inbox.redis)))


def client(api: FastAPI, address: str = "192.0.2.1", **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(api, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url=HOST, headers=headers)


@pytest.fixture
async def keys(url: str) -> AsyncIterator[ApiKeys]:
    redis = connect(url)
    await redis.flushall()
    yield ApiKeys(redis)
    await redis.aclose()


@pytest.fixture
def locked(url: str, tmp_path: Path) -> FastAPI:
    return application(url, tmp_path, require_api_keys=True, wrong_keys_per_minute=3)


def doors(http: httpx.AsyncClient) -> Iterator[Any]:
    """Everything that takes an API key."""
    file = {"file": ("talk.wav", wav_of(silence(1)))}
    yield http.post("/v1/sessions", json=ASKED)
    yield http.post("/v1/voices", data={"name": "Anna", "consent": "true"}, files=file)
    yield http.post("/v1/recordings", data=SAID | {"consent": "false"}, files=file)  # let in, and refused for that


async def test_more_event_streams_than_a_session_may_have_wait(url: str, tmp_path: Path) -> None:
    api = application(url, tmp_path, streams_per_session=1)
    store = api.state.context.store
    async with client(api) as http:
        session = (await http.post("/v1/sessions", json=ASKED)).json()
        path, key = f"/v1/sessions/{session['id']}/events", {"Authorization": f"Bearer {session['viewer_key']}"}
        await store.publish(session["id"], 1, [SessionEnded(heard_until=1.0)])  # so that streams end
        assert await store.hold_stream(session["id"], "somebody's", 1)
        refused = await http.get(path, headers=key)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "15")
        assert refused.json()["detail"] == (
            "As many event streams are open on this session as may be: 1. Try again in 15 s."
        )
        await store.let_go_of_stream(session["id"], "somebody's")
        for _ in range(2):  # each lets go of its own
            assert "session.ended" in (await http.get(path, headers=key)).text


async def test_without_a_key_a_locked_server_opens_nothing(locked: FastAPI, keys: ApiKeys) -> None:
    async with client(locked) as http:
        for door in doors(http):
            refused = await door
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"] == "ApiKey"
            assert "X-API-Key: KEY" in refused.json()["detail"]
        assert (await http.get("/healthz")).status_code == 200


async def test_a_key_opens_every_door_until_it_is_revoked(locked: FastAPI, keys: ApiKeys) -> None:
    made = await keys.create("clinic")
    async with client(locked, **{"X-API-Key": made.secret}) as http:
        assert [(await door).status_code for door in doors(http)] == [201, 201, 422]
        assert (await keys.all())[0].last_used_at is not None
        await keys.revoke(made.record.id)
        for door in doors(http):
            refused = await door
            assert (refused.status_code, refused.json()["code"]) == (403, "api_key")
            assert "expired, or was revoked" in refused.json()["detail"]


async def test_an_open_server_takes_a_key_and_no_wrong_one(url: str, tmp_path: Path, keys: ApiKeys) -> None:
    api = application(url, tmp_path)
    made = await keys.create("clinic")
    async with client(api) as http:
        assert (await http.post("/v1/sessions", json=ASKED)).status_code == 201
        for secret, status in ((made.secret, 201), (made.secret + "x", 403)):
            answer = await http.post("/v1/sessions", json=ASKED, headers={"X-API-Key": secret})
            assert answer.status_code == status


@pytest.mark.parametrize(("number", "what"), [(0, "sessions"), (1, "voices"), (2, "uploads")])
async def test_so_many_a_minute_for_each_caller(
    url: str, tmp_path: Path, keys: ApiKeys, number: int, what: str
) -> None:
    api, replica = (application(url, tmp_path, **{f"{what}_per_minute": 2}) for _ in range(2))
    made = await keys.create("clinic")

    async def knock(http: httpx.AsyncClient) -> httpx.Response:
        pending = [door for door in doors(http)]
        for index, door in enumerate(pending):
            if index != number:
                door.close()
        answer: httpx.Response = await pending[number]
        return answer

    async with client(api) as http, client(replica) as elsewhere:
        assert (await knock(http)).status_code != 429
        assert (await knock(elsewhere)).status_code != 429
        refused = await knock(http)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 30
    assert f"Too many {what} have come from this address: 2 a minute are taken." in refused.json()["detail"]
    async with client(api, "192.0.2.2") as other:
        assert (await knock(other)).status_code != 429
    async with client(api, **{"X-API-Key": made.secret}) as keyed:
        assert (await knock(keyed)).status_code != 429, "who has a key is counted by the key"


async def test_guessing_is_limited_by_address_whatever_is_guessed(locked: FastAPI, keys: ApiKeys) -> None:
    made = await keys.create("clinic")
    mine = {"X-API-Key": made.secret}
    async with client(locked) as http:
        session = (await http.post("/v1/sessions", json=ASKED, headers=mine)).json()
        voice = await http.post(
            "/v1/voices", data={"name": "A", "consent": "true"}, files={"file": wav_of(silence(1))}, headers=mine
        )
        path, right = f"/v1/sessions/{session['id']}", {"Authorization": f"Bearer {session['viewer_key']}"}
        wrong = {"Authorization": "Bearer guess"}
        assert (await http.get(path, headers=right)).status_code == 200
        assert (await http.get(path, headers=wrong)).status_code == 403
        assert (await http.get(f"/v1/voices/{voice.json()['id']}", headers=wrong)).status_code == 403
        assert (await http.get("/v1/recordings", headers=wrong)).status_code == 403
        for given in (wrong, right):
            refused = await http.get(path, headers=given)
            assert (refused.status_code, "Too many wrong keys" in refused.text) == (429, True)
        assert (await http.post("/v1/sessions", json=ASKED, headers=mine)).status_code == 429
    async with client(locked, "192.0.2.2") as other:
        assert (await other.get(path, headers=right)).status_code == 200


def hello(session: dict[str, str]) -> str:
    return Hello(key=session["recorder_key"]).model_dump_json(exclude_none=True)


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
        with http.websocket_connect(second["audio"]) as two:
            two.send_text(hello(second))
            assert two.receive_json()["type"] == "welcome", "the place of who has left is free"


async def test_who_records_with_a_key_is_stopped_when_it_is_revoked(url: str, tmp_path: Path, keys: ApiKeys) -> None:
    api = application(url, tmp_path, require_api_keys=True, heartbeat=0.01)
    made = await keys.create("clinic")
    with TestClient(api, base_url=HOST) as http:
        session = http.post("/v1/sessions", json=ASKED, headers={"X-API-Key": made.secret}).json()
        with http.websocket_connect(session["audio"]) as line:
            line.send_text(hello(session))
            assert line.receive_json()["type"] == "welcome"
            await keys.revoke(made.record.id)
            line.send_text('{"type": "ping"}')
            said = line.receive_json()
            while said["type"] == "pong":
                line.send_text('{"type": "ping"}')
                said = line.receive_json()
            assert said == {"type": "error", "code": "wrong_key", "message": REVOKED}


async def test_the_place_of_an_erased_session_is_free(url: str, tmp_path: Path, keys: ApiKeys) -> None:
    """Its id stood beside an address for as long as its recorder gave signs of life."""
    api = application(url, tmp_path, heartbeat=0.05)
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
            time.sleep(0.1)
            line.send_text('{"type": "ping"}')
            assert line.receive_json()["code"] == "unknown_session"
    assert await redis.keys(f"*{session['id']}*") == await redis.keys("tonetrack:places:*") == []
    await redis.aclose()


@pytest.mark.parametrize(
    ("origin", "shown"),
    [
        ("http://tone.example:5006", True),
        ("https://tone.example", True),
        ("https://friend.example", True),
        ("https://friend.example:444", False),
        ("https://evil.example", False),
        ("https://tone.example.evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
async def test_a_browser_shows_answers_to_pages_of_this_host_and_friends(
    url: str, tmp_path: Path, origin: str, shown: bool
) -> None:
    api = application(url, tmp_path, host="0.0.0.0", allowed_origins=["https://friend.example"])
    expected = origin if shown else None
    async with client(api, Origin=origin) as http:
        answer = await http.get("/healthz")
        assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (200, expected)
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key, Content-Type"}
        preflight = await http.options("/v1/sessions", headers=asked)
        assert (preflight.status_code == 200) is shown
        assert preflight.headers.get("Access-Control-Allow-Origin") == expected
    with TestClient(api, base_url=HOST) as browser:
        session = browser.post("/v1/sessions", json=ASKED).json()
        with browser.websocket_connect(
            session["audio"], headers={"Origin": origin, "Host": "tone.example:8000"}
        ) as line:
            line.send_text(hello(session))
            assert (line.receive_json()["type"] == "welcome") is shown, "the WebSocket keeps the same rule"


async def test_a_recorder_key_that_has_leaked_is_replaced(url: str, tmp_path: Path) -> None:
    with TestClient(application(url, tmp_path), base_url="http://localhost:8000") as http:
        session = http.post("/v1/sessions", json=ASKED).json()
        place = f"/v1/sessions/{session['id']}/recorder-key"
        of = {key: {"Authorization": f"Bearer {session[key]}"} for key in ("recorder_key", "viewer_key")}
        assert http.post(place, headers=of["viewer_key"]).status_code == 403
        with http.websocket_connect(session["audio"]) as line:
            line.send_text(hello(session))
            assert line.receive_json()["type"] == "welcome"
            renewed = http.post(place, headers=of["recorder_key"]).json()["recorder_key"]
            line.send_bytes(pack_frame(0, bytes(32)))
            assert line.receive_json()["code"] == "taken_over"
        with http.websocket_connect(session["audio"]) as line:
            line.send_text(hello(session))
            assert line.receive_json()["code"] == "wrong_key"
        with http.websocket_connect(session["audio"]) as line:
            line.send_text(hello(session | {"recorder_key": renewed}))
            assert line.receive_json()["type"] == "welcome"


@pytest.mark.parametrize("path", ["/v1/recordings", "/v1/voices", "/v1/sessions"])
async def test_a_foreign_page_changes_nothing(url: str, tmp_path: Path, path: str) -> None:
    """No browser asks beforehand where a form is sent; that its answer is hidden comes too late."""
    async with client(application(url, tmp_path, host="0.0.0.0"), Origin="https://evil.example") as http:
        form = await http.post(path, data=SAID, files={"file": ("talk.wav", wav_of(silence(1)))})
        assert form.status_code == 403
        assert form.json() == {"detail": FOREIGN}


@pytest.mark.parametrize(("name", "lets"), [("localhost:8000", True), ("[::1]:8000", True), ("evil.example", False)])
async def test_a_laptop_goes_by_no_name_that_leads_to_it(url: str, tmp_path: Path, name: str, lets: bool) -> None:
    """A page may have its own name lead to the loopback once it is loaded: it is of the same host then."""
    async with client(application(url, tmp_path), Origin=f"http://{name}", Host=name) as http:
        assert ((await http.post("/v1/sessions", json=ASKED)).status_code == 201) is lets


async def test_every_answer_tells_browsers_what_they_may_not_do(url: str, tmp_path: Path) -> None:
    async with client(application(url, tmp_path)) as http:
        for path in ("/healthz", "/openapi.json", "/v1/sessions/nobody", "/nowhere"):
            headers = (await http.get(path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["Permissions-Policy"].startswith("microphone=()")


async def test_the_api_describes_its_keys(url: str, tmp_path: Path) -> None:
    async with client(application(url, tmp_path)) as http:
        described = (await http.get("/openapi.json")).json()
    scheme = described["components"]["securitySchemes"]["ApiKey"]
    assert (scheme["in"], scheme["name"]) == ("header", "X-API-Key")
    for path in ("/v1/sessions", "/v1/voices", "/v1/recordings"):
        told = described["paths"][path]["post"]
        assert {"ApiKey": []} in told["security"]
        assert {"401", "403", "429"} <= told["responses"].keys()
    for name, operation in ((p, o) for p, ways in described["paths"].items() for o in ways.values()):
        queried = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
        assert queried <= {"limit", "cursor"}, f"{name}: what stands in a URL stands in logs"
