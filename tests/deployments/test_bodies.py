"""JSON that comes slowly, or much of it at once: whoever sends it keeps no place that others need."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments import bodies
from tests.deployments.doors import ASKED, application, client

JSON = {"Content-Type": "application/json"}


async def by_halves(whole: asyncio.Event) -> AsyncIterator[bytes]:
    """A body, the rest of which comes at last."""
    sent = json.dumps(ASKED).encode()
    yield sent[:10]
    await whole.wait()
    yield sent[10:]


async def test_a_body_that_comes_too_slowly_is_not_waited_for(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a byte a minute it kept one of the replica's places for ever, and no key was asked for."""
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)
    async with client(application(url, tmp_path), **JSON) as http:
        async with asyncio.timeout(20):
            refused = await http.post("/v1/sessions", content=by_halves(asyncio.Event()))
        assert (refused.status_code, refused.headers["Connection"]) == (408, "close")
        assert "send it again" in refused.json()["detail"]
        assert (await http.post("/v1/sessions", json=ASKED)).status_code == 201


async def test_so_many_bodies_are_on_their_way_from_one_address(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MOST_BODIES", 2)
    api, whole = application(url, tmp_path), asyncio.Event()
    async with client(api, **JSON) as http, client(api, "192.0.2.2") as elsewhere:
        coming = [asyncio.create_task(http.post("/v1/sessions", content=by_halves(whole))) for _ in range(2)]
        async with asyncio.timeout(20):
            while (refused := await http.post("/v1/sessions", json=ASKED)).status_code == 201:
                await asyncio.sleep(0.01)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "20")
        assert "2 requests from this address" in refused.json()["detail"]
        assert (await elsewhere.post("/v1/sessions", json=ASKED)).status_code == 201
        whole.set()
        assert [answer.status_code for answer in await asyncio.gather(*coming)] == [201, 201]
        assert (await http.post("/v1/sessions", json=ASKED)).status_code == 201
