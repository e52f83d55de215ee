"""Downloads of sound: so many at once, and none of it once it was erased. Without models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from deployments.routes import sound
from deployments.routes.sound import MOST_AT_ONCE, MOST_EACH
from tests.deployments.doors import application, client
from tests.service import silence
from tests.uploads import SAID, wav_of

BLOCK = 1_000  # bytes


@pytest.fixture
async def kept(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FastAPI, dict[str, Any]]:
    """The API, and a recording whose sound comes in many pieces."""
    monkeypatch.setattr(sound, "BLOCK", BLOCK)
    api = application(url, tmp_path)
    api.state.context.inbox.enqueue = api.state.context.inbox.jobs.enqueued
    async with client(api) as http:
        sent = {"file": ("talk.wav", wav_of(silence(1)))}
        answer = await http.post("/v1/recordings", data=SAID | {"keep_audio": "true"}, files=sent)
    assert answer.status_code == 202, answer.text
    return api, answer.json()


def download(api: FastAPI, recording: dict[str, Any], address: str, take: Callable[[bytes], Awaitable[None]]) -> Any:
    """A download, as a server has it of a receiver that takes piece after piece."""
    path = f"/v1/recordings/{recording['id']}/audio"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {recording['key']}".encode())],
        "client": (address, 1),
    }

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        await take(message.get("body", b""))

    return asyncio.create_task(api(scope, receive, send))  # type: ignore[arg-type]


async def test_only_so_much_sound_is_on_its_way_at_once(kept: tuple[FastAPI, dict[str, Any]]) -> None:
    """Each takes of the replica's line and of its threads; there was no end to how many."""
    api, recording = kept
    path, key = f"/v1/recordings/{recording['id']}/audio", {"Authorization": f"Bearer {recording['key']}"}
    going_on, sending = asyncio.Event(), api.state.context.sending

    async def slowly(_: bytes) -> None:
        await going_on.wait()

    async def full(places: int) -> None:
        async with asyncio.timeout(20):
            while len(sending) < places:
                await asyncio.sleep(0.01)

    crowd = [f"192.0.2.{1 + number // MOST_EACH}" for number in range(MOST_AT_ONCE)]
    under_way = [download(api, recording, address, slowly) for address in crowd[:MOST_EACH]]
    await full(MOST_EACH)
    async with client(api, crowd[0]) as here, client(api, "192.0.2.9") as elsewhere:
        refused = await here.get(path, headers=key)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
        assert refused.json()["detail"] == (
            "As much sound as may go to this address at once is on its way: 4 downloads. Try again in 10 s."
        )
        assert (await elsewhere.get(path, headers=key)).status_code == 200, "nobody else is kept out"
        under_way += [download(api, recording, address, slowly) for address in crowd[MOST_EACH:]]
        await full(MOST_AT_ONCE)
        refused = await elsewhere.get(path, headers=key)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
        assert refused.json()["detail"].startswith("As much sound as may leave this server at once is on its way.")
        for gone in under_way[:1]:
            gone.cancel()  # as one whose line breaks
        going_on.set()
        await asyncio.gather(*under_way, return_exceptions=True)
        assert len(sending) == 0
        assert (await here.get(path, headers=key)).content == wav_of(silence(1))


async def test_sound_that_is_erased_is_sent_no_further(kept: tuple[FastAPI, dict[str, Any]]) -> None:
    """What was open was read on, to its end, however long that took."""
    api, recording = kept
    taken: list[int] = []

    async def erase(body: bytes) -> None:
        taken.append(len(body))
        if sum(taken) == 2 * BLOCK:
            await api.state.context.inbox.erase(recording["id"])

    await download(api, recording, "192.0.2.1", erase)
    assert sum(taken) == 2 * BLOCK


async def test_sound_is_handed_over_no_faster_than_a_good_line_takes_it(
    kept: tuple[FastAPI, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serve's proxy took all of it at once, and went on sending what had been erased."""
    monkeypatch.setattr(sound, "PACE", 100 * BLOCK)
    api, recording = kept
    taken: list[int] = []

    async def take(body: bytes) -> None:
        taken.append(len(body))

    began = time.monotonic()
    await download(api, recording, "192.0.2.1", take)
    assert sum(taken) == len(wav_of(silence(1)))
    assert time.monotonic() - began > sum(taken) / (100 * BLOCK) - 0.02
