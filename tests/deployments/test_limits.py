"""What an operator limits: places, origins, and how long an abandoned session keeps its sound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from deployments.client import Recorder, Session, open_session
from deployments.protocol import Hello, pack_frame
from tests.service import Service, frames, running_service, silence

pytestmark = pytest.mark.slow
ORIGIN = "https://allowed.example"


@pytest.fixture(scope="module")
def limited() -> Iterator[Service]:
    with running_service(abandon=10, max_sessions=1, allowed_origins=json.dumps([ORIGIN])) as service:
        yield service


async def begin(session: Session, socket: Any) -> dict[str, Any]:
    await socket.send(Hello(key=session.recorder_key, codec="pcm16").model_dump_json(exclude_none=True))
    answer: dict[str, Any] = json.loads(await socket.recv())
    return answer


async def test_more_recorders_than_places_are_asked_to_wait(limited: Service) -> None:
    first, second = await open_session(limited.api, "research"), await open_session(limited.api, "research")
    async with connect(first.socket) as here:
        assert (await begin(first, here))["type"] == "welcome"
        async with connect(second.socket) as there:
            assert (await begin(second, there))["code"] == "busy"
        async with httpx.AsyncClient(base_url=limited.api) as http:
            refused = await http.post("/v1/sessions", json={"purpose": "research", "consent": True})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
        waiting = asyncio.create_task(Recorder(second).record(frames(silence(0.5))))
        await asyncio.sleep(1)
    assert await waiting == 0.5, "whoever waited is heard as soon as there is a place"


async def test_pages_of_an_allowed_origin_may_record(limited: Service) -> None:
    session = await open_session(limited.api, "research")
    async with connect(session.socket, origin=ORIGIN) as socket:
        assert (await begin(session, socket))["type"] == "welcome"


async def test_an_abandoned_session_ends_and_its_sound_goes(limited: Service, small_conversation: Any) -> None:
    session = await open_session(limited.api, "research")
    async with connect(session.socket) as socket:
        await begin(session, socket)
        for number in range(24):
            await socket.send(
                pack_frame(number, small_conversation[0][number * 8_000 : (number + 1) * 8_000].tobytes())
            )
        while json.loads(await socket.recv()).get("next_frame") != 24:
            pass
    async with asyncio.timeout(40):
        while not (timeline := await session.get())["ended"]:
            await asyncio.sleep(0.5)
    assert timeline["heard_until"] == 12.0
    assert timeline["turns"]
    with limited.redis() as redis:
        keys = {key.decode() for key in redis.scan_iter(f"*{session.id}*")}
    parts = {key.removeprefix(f"tonetrack:{{{session.id}}}").lstrip(":") for key in keys}
    assert parts == {"", "events", "looks"}
