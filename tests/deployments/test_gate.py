"""Who is let in: the application itself over a real Redis, without models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from deployments import gate
from deployments.gate import REVOKED
from deployments.protocol import Ping, pack_frame
from deployments.sessions import open_store
from pipeline.api_keys import ApiKeys
from tests.deployments.doors import ASKED, HOST, application, client, hello
from tests.deployments.test_lag import say
from tests.service import silence
from tests.uploads import SAID, wav_of


@pytest.fixture
def locked(url: str, tmp_path: Path) -> FastAPI:
    return application(url, tmp_path, require_api_keys=True, wrong_keys_per_minute=3)


def doors(http: httpx.AsyncClient) -> Iterator[Any]:
    """Everything that takes an API key."""
    file = {"file": ("talk.wav", wav_of(silence(1)))}
    yield http.post("/v1/sessions", json=ASKED)
    yield http.post("/v1/voices", data={"name": "Anna", "consent": "true"}, files=file)
    yield http.post("/v1/recordings", data=SAID | {"consent": "false"}, files=file)  # let in, and refused for that


async def test_so_many_answers_a_minute_under_one_key(url: str, tmp_path: Path) -> None:
    """Whoever has been shown a session cannot keep the service busy with it, nor others from looking at it."""
    api = application(url, tmp_path, requests_per_minute=2)
    async with client(api) as http, client(api, "192.0.2.2") as elsewhere:
        session, other = [(await http.post("/v1/sessions", json=ASKED)).json() for _ in range(2)]

        async def look(of: dict[str, Any], key: str, by: httpx.AsyncClient = http) -> httpx.Response:
            return await by.get(f"/v1/sessions/{of['id']}", headers={"Authorization": f"Bearer {of[key]}"})

        assert [(await look(session, "viewer_key")).status_code for _ in range(2)] == [200, 200]
        refused = await look(session, "viewer_key")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
        assert refused.json()["detail"] == (
            "Too many requests have come from this address under one key: 2 a minute are answered. Try again in 30 s."
        )
        assert (await look(session, "recorder_key")).status_code == 200
        assert (await look(other, "viewer_key")).status_code == 200
        assert (await look(session, "viewer_key", elsewhere)).status_code == 200


async def test_so_many_answers_a_minute_under_a_voices_key(url: str, tmp_path: Path) -> None:
    """It was described, and not done."""
    async with client(application(url, tmp_path, requests_per_minute=2)) as http:
        sent = {"data": {"name": "Anna", "consent": "true"}, "files": {"file": wav_of(silence(1))}}
        voice = (await http.post("/v1/voices", **sent)).json()
        path, key = f"/v1/voices/{voice['id']}", {"Authorization": f"Bearer {voice['key']}"}
        assert [(await http.get(path, headers=key)).status_code for _ in range(3)] == [200, 200, 429]
        assert (await http.delete(path, headers=key)).status_code == 429


@pytest.mark.parametrize("full", [False, True], ids=["", "while all places are taken"])
async def test_voices_that_cannot_be_enrolled_count_too(url: str, tmp_path: Path, full: bool) -> None:
    sound = wav_of(silence(1))
    failing: list[dict[str, Any]] = [
        {"json": {}},
        {"data": {"name": ""}, "files": {"file": b""}},
        {"data": {"name": "Anna", "consent": "false"}, "files": {"file": sound}},
        {"data": {"name": "Anna", "consent": "true"}, "files": {"file": b"no sound"}},
    ]
    api = application(url, tmp_path, voices_per_minute=len(failing))
    api.state.context.pool.recorders = 10**6 if full else 0
    async with client(api, f"203.0.113.{1 + full}") as http:
        answers = [(await http.post("/v1/voices", **sent)).status_code for sent in [*failing, failing[0]]]
    assert answers == [503 if full else 422] * len(failing) + [429]


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


async def test_who_records_with_a_key_is_stopped_when_it_is_revoked(url: str, tmp_path: Path, keys: ApiKeys) -> None:
    api = application(url, tmp_path, require_api_keys=True, heartbeat=0.1)
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


async def test_a_recorder_comes_back_so_often_and_no_oftener(url: str, tmp_path: Path) -> None:
    with TestClient(application(url, tmp_path, requests_per_minute=2), base_url=HOST) as http:
        session = http.post("/v1/sessions", json=ASKED).json()
        said = []
        for _ in range(3):
            with http.websocket_connect(session["audio"]) as line:
                line.send_text(hello(session))
                said.append(line.receive_json())
    assert [each["type"] for each in said] == ["welcome", "welcome", "error"]
    assert (said[2]["code"], "2 a minute are answered" in said[2]["message"]) == ("busy", True)


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


def test_nobody_new_comes_where_redis_is_nearly_full_and_those_who_are_there_go_on(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was filled to its end, where nobody's frames could be written any more."""
    taken: float | None = None

    async def ratio(_: Any) -> float | None:
        return taken

    monkeypatch.setattr(gate, "memory_ratio", ratio)
    monkeypatch.setattr(gate, "MEMORY_SECONDS", 0.0)
    api = application(url, tmp_path)
    with TestClient(api, base_url="http://localhost:8000") as http:

        def answer(session: dict[str, str]) -> Any:
            with http.websocket_connect(session["audio"]) as line:
                line.send_text(hello(session))
                return line.receive_json()

        known, new = http.post("/v1/sessions", json=ASKED).json(), http.post("/v1/sessions", json=ASKED).json()
        with http.websocket_connect(known["audio"]) as line:
            line.send_text(hello(known))
            assert line.receive_json()["type"] == "welcome"
            taken = 0.85
            for path in ("/v1/sessions", "/v1/recordings", "/v1/voices"):
                refused = http.post(path, json=ASKED)
                assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
                assert "nearly full" in refused.json()["detail"]
            told = answer(new)
            assert (told["code"], "nearly full" in told["message"]) == ("busy", True)
            line.send_text(Ping().model_dump_json())
            assert line.receive_json()["type"] == "pong"
        asyncio.run(say(open_store(api.state.context.settings), known["id"]))
        assert answer(known)["type"] == "welcome"
        taken = 0.84
        assert answer(new)["type"] == "welcome"
        assert http.post("/v1/sessions", json=ASKED).status_code == 201


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
