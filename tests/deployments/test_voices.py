"""Enrolment by senders who are slow, endless, many, or send what is hard to read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from deployments import bodies
from deployments.routes import voices
from deployments.routes.voices import MOST_AT_ONCE, MOST_BYTES, MOST_EACH
from tests.deployments.doors import application, client
from tests.deployments.test_multipart import BOUNDARY, CONTENT_TYPE, body, file
from tests.media.mutants import bombs, mutants
from tests.service import Service, silence
from tests.uploads import wav_of

SAID = {"name": "Anna", "consent": "true"}
FORM = {"Content-Type": CONTENT_TYPE}
BEGUN = body(file(), end=b"")[: -len(BOUNDARY) - 4]  # in the middle of the sound
AT_ONCE = 4  # of hard ones under way
MOST_SECONDS = 60  # for one of them, on the slowest machine


@pytest.fixture
def api(url: str, tmp_path: Path) -> FastAPI:
    return application(url, tmp_path, voices_per_minute=1_000)


async def enrolled(api: FastAPI, address: str = "192.0.2.1") -> httpx.Response:
    """What somebody is answered who sends what can be enrolled."""
    async with client(api, address) as http:
        return await http.post("/v1/voices", data=SAID, files={"file": wav_of(silence(1))})


async def test_who_sends_nothing_any_more_is_dropped(api: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "ABSENT", 0.2)

    async def silent() -> AsyncIterator[bytes]:
        yield BEGUN
        await asyncio.sleep(30)

    async with client(api) as http, asyncio.timeout(10):
        answer = await http.post("/v1/voices", content=silent(), headers=FORM)
    assert (answer.status_code, answer.headers["Connection"]) == (408, "close")
    assert answer.json()["detail"].startswith("Nothing has come for ")


async def test_who_sends_a_byte_now_and_then_is_dropped_too(api: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "ARRIVAL_SECONDS", 0.5)

    async def slow() -> AsyncIterator[bytes]:
        yield BEGUN
        while True:
            await asyncio.sleep(0.05)
            yield b"x"

    async with client(api) as http, asyncio.timeout(10):
        answer = await http.post("/v1/voices", content=slow(), headers=FORM)
    assert (answer.status_code, answer.headers["Connection"]) == (408, "close")
    assert answer.json()["detail"].startswith("This has not come within ")
    assert (await enrolled(api)).status_code == 201, "the place is free again"


async def test_what_follows_the_end_of_the_form_has_an_end(api: FastAPI) -> None:
    """Only the sound was counted: whatever else came was taken for as long as it came."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield body(file())
        while taken < 4 * MOST_BYTES:
            taken += 2**18
            yield bytes(2**18)

    async with client(api) as http:
        answer = await http.post("/v1/voices", content=endless(), headers=FORM)
    assert (answer.status_code, answer.json()["detail"]) == (413, voices.TOO_MUCH)
    assert taken <= MOST_BYTES + 2 * bodies.FORM


async def test_a_few_are_taken_in_at_once_and_fewer_from_one_address(api: FastAPI) -> None:
    """Each may lie in memory with 20 MB."""
    over = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield BEGUN
        await over.wait()

    async def wait(address: str) -> None:
        async with client(api, address) as http:
            await http.post("/v1/voices", content=waiting(), headers=FORM)

    context = api.state.context
    crowd = [f"192.0.2.{1 + number // MOST_EACH}" for number in range(MOST_AT_ONCE)]
    under_way = [asyncio.create_task(wait(address)) for address in crowd[:MOST_EACH]]
    while len(context.enrolling) < MOST_EACH:
        await asyncio.sleep(0.01)
    refused = await enrolled(api)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
    assert refused.json()["detail"] == voices.BUSY
    assert (await enrolled(api, "192.0.2.9")).status_code == 201, "nobody else is kept out"
    under_way += [asyncio.create_task(wait(address)) for address in crowd[MOST_EACH:]]
    while len(context.enrolling) < MOST_AT_ONCE:
        await asyncio.sleep(0.01)
    refused = await enrolled(api, "192.0.2.9")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert refused.json()["detail"] == voices.BUSY_HERE
    over.set()
    await asyncio.gather(*under_way)
    assert (await enrolled(api)).status_code == 201
    assert len(context.enrolling) == 0


async def test_files_that_are_hard_to_read_are_refused_in_a_sentence(service: Service) -> None:
    """A sample of `tests.media.mutants`, with all bombs, and nobody has to be started anew for it."""
    sample = random.Random(5).sample([made for made in mutants() if "bomb" not in made[0]], 40) + list(bombs())
    replicas = {pid for pid, command in service.processes().items() if "ray::" in command}
    complaints: list[str] = []
    places = asyncio.Semaphore(AT_ONCE)

    async def sent(number: int, name: str, data: bytes, http: httpx.AsyncClient) -> None:
        mine = {"X-Forwarded-For": f"198.51.100.{number}"}  # or so many would be too many from one address
        file: Any = {"file": (name, data)}
        async with places, asyncio.timeout(MOST_SECONDS):
            answer = await http.post("/v1/voices", data=SAID, files=file, headers=mine)
        detail = str(answer.json().get("detail", ""))
        if answer.status_code not in (413, 422) or not (detail[:1].isupper() and detail.endswith(".")):
            complaints.append(f"{name}: {answer.status_code} {answer.text[:200]}")

    async with httpx.AsyncClient(base_url=service.api, timeout=MOST_SECONDS) as http:
        await asyncio.gather(*(sent(number, *made, http) for number, made in enumerate(sample)))
    assert not complaints, "\n".join(complaints)
    assert replicas <= service.processes().keys(), "a process was started anew"
