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

from deployments import door, lag
from deployments.context import Context
from deployments.gate import Gate
from deployments.inbox import Inbox
from deployments.ingress import build_api
from deployments.lag import FEW, Haste, Lag
from deployments.protocol import Hello
from deployments.sessions import open_store
from deployments.settings import Settings
from pipeline.session import Codec, Frame
from pipeline.store import SessionStore, connect
from pipeline.timeline import HOP_SECONDS
from tests.deployments.doors import at_ease
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
        told.note(now - late)
    assert told.seconds == 0.0, "one of few that is late by chance tells nothing"
    for late in (0.2, 30.0):
        told.note(now - late)
    assert told.seconds == pytest.approx(0.2, abs=0.05)


def hasty(*arrivals: float, together: int = 1) -> list[bool]:
    """Of hops that arrive so many seconds after each other."""
    haste, at, told = Haste(), 1_000.0, []
    for after in arrivals:
        at += after
        told.append(haste.hears(at, together))
    return told


def test_what_is_sent_as_it_is_spoken_is_in_no_haste() -> None:
    assert not any(hasty(*[HOP_SECONDS] * 99))
    assert not any(hasty(*[0.3, 0.7] * 50)), "lines have their moods"
    assert not any(hasty(*[4 * HOP_SECONDS] * 9, together=4))


@pytest.mark.parametrize("together", [1, 2, 4])
def test_what_is_sent_faster_than_it_was_spoken_waits_for_itself(together: int) -> None:
    file = hasty(*[together * HOP_SECONDS / 4] * 50, together=together)
    assert all(file[3:])
    held_back = hasty(*[0.01] * 40, *[0.5, *[0.01] * 9] * 5)
    assert all(held_back[2:]), "also where it has to wait now and then"


def test_who_has_caught_up_counts_again() -> None:
    after_a_broken_line = hasty(*[0.01] * 30, *[HOP_SECONDS] * 120)
    assert all(after_a_broken_line[2:40])
    assert not any(after_a_broken_line[-20:])


def test_what_was_late_is_soon_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Lag()
    told.note(time.time() - 9, FEW)
    assert told.seconds == pytest.approx(9, abs=0.5)
    monkeypatch.setattr(lag, "LATELY", 0.0)
    assert told.seconds == 0.0


def test_newcomers_wait_while_others_are_heard_too_late_and_who_comes_back_does_not(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "PATIENCE", 0.2)
    settings = Settings.model_validate({"redis_url": url, "blobs": str(tmp_path / "blobs")})
    pool = at_ease()
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
