"""When those who talk are heard too late: whoever comes besides is asked to wait, and who comes back is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from deployments import lag
from deployments.context import Context
from deployments.gate import Gate
from deployments.inbox import Inbox
from deployments.ingress import build_api
from deployments.lag import FEW, Lag
from deployments.protocol import Hello
from deployments.sessions import open_store
from deployments.settings import Settings
from pipeline.session import Codec, Frame
from pipeline.store import SessionStore, connect
from pipeline.timeline import HOP_SECONDS
from tests.service import running_redis


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with running_redis(tmp_path) as url:
        yield url


async def say(store: SessionStore, session: str) -> None:
    """Something, of which nothing has been heard yet."""
    connection = (await store.claim(session, Codec.PCM16)).connection
    await store.append(session, connection, Codec.PCM16, Frame(0, b"ab", time.time()))


def test_half_of_all_hops_come_later() -> None:
    told, now = Lag(), time.time()
    for late in (30.0, 0.2, 0.1):
        told.note(now - late, now - late - HOP_SECONDS)
    assert told.seconds == 0.0, "one of few that is late by chance tells nothing"
    for late in (0.2, 30.0):
        told.note(now - late, now - late - HOP_SECONDS)
    assert told.seconds == pytest.approx(0.2, abs=0.05)


def test_what_is_sent_faster_than_it_was_spoken_waits_for_itself() -> None:
    told, now = Lag(), time.time()
    for together in (1, 2, 4) * FEW:
        told.note(now - 60, now - 60 - together * HOP_SECONDS / 5, together)
    assert told.seconds == 0.0
    told.note(now - 60, now - 60 - FEW * HOP_SECONDS, FEW)
    assert told.seconds == pytest.approx(60, abs=0.5)


def test_what_was_late_is_soon_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Lag()
    told.note(time.time() - 9, 0.0, FEW)
    assert told.seconds == pytest.approx(9, abs=0.5)
    monkeypatch.setattr(lag, "LATELY", 0.0)
    assert told.seconds == 0.0


def test_newcomers_wait_while_others_are_heard_too_late_and_who_comes_back_does_not(url: str, tmp_path: Path) -> None:
    settings = Settings.model_validate({"redis_url": url, "blobs": str(tmp_path / "blobs")})
    pool: Any = SimpleNamespace(full=False)
    nobody: Any = SimpleNamespace()
    gate = Gate(settings, connect(url))
    api = build_api(Context(settings, open_store(settings), pool, nobody, Inbox(settings), gate))

    def answer(client: TestClient, session: dict[str, Any]) -> Any:
        with client.websocket_connect(session["audio"]) as socket:
            socket.send_text(Hello(key=session["recorder_key"]).model_dump_json(exclude_none=True))
            return socket.receive_json()

    def opened(client: TestClient) -> Any:
        return client.post("/v1/sessions", json={"purpose": "research", "consent": True})

    with TestClient(api) as client:
        known, new = opened(client).json(), opened(client).json()
        assert answer(client, known)["type"] == "welcome"
        asyncio.run(say(open_store(settings), known["id"]))
        pool.full = True
        assert answer(client, new)["code"] == "busy"
        assert answer(client, known)["type"] == "welcome"
        refused = opened(client)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
        pool.full = False
        assert answer(client, new)["type"] == "welcome"
