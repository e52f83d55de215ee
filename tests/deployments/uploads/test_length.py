"""An upload is no longer than it may be, whatever it is that makes it long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from deployments.context import Context
from deployments.gate import Gate
from deployments.inbox import Inbox
from deployments.ingress import build_api
from deployments.routes.uploads import BLOCK
from deployments.settings import Settings
from pipeline.store import SessionStore
from tests.deployments.test_multipart import BOUNDARY, CONTENT_TYPE, WHOLE, body, file

MOST = 100_000  # bytes of a file


@pytest.fixture
async def http(url: str, store: SessionStore, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The API in this process, over a real Redis and a folder, without the queue, which nothing here comes to."""
    settings = Settings(redis_url=url, max_upload_bytes=MOST, blobs=str(tmp_path))
    nothing: Any = None
    inbox = Inbox(settings)
    api = build_api(Context(settings, store, nothing, nothing, inbox, Gate(settings, inbox.redis)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(cast(Any, api)), base_url="http://here") as client:
        yield client
    await inbox.redis.aclose()


MORE = bytes(BLOCK // 16)
ENDLESS = {
    "the file": (body(file(), end=b"")[: -len(BOUNDARY) - 4], MORE),
    "headers": (b"--" + BOUNDARY.encode() + b"\r\n", b"X: y\r\n" * (BLOCK // 96)),
    "what follows the end": (WHOLE, MORE),
}


@pytest.mark.parametrize("part", ENDLESS)
async def test_what_has_no_end_is_refused(http: httpx.AsyncClient, part: str) -> None:
    """Only the file was counted: whatever else came was taken for as long as it came."""
    first, more = ENDLESS[part]
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield first
        while taken < 8 * BLOCK:
            taken += len(more)
            yield more

    answer = await http.post("/v1/recordings", content=endless(), headers={"Content-Type": CONTENT_TYPE})
    assert answer.status_code in (413, 422), answer.text
    assert taken <= 2 * BLOCK
