"""Uploads that break off, come twice, fall silent, or are too large: what is left of them, and what is not."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from deployments import bodies
from deployments.gate import Gate
from deployments.inbox import Inbox
from deployments.routes import uploads
from deployments.settings import Settings
from pipeline import blobs, idempotency
from pipeline.blobs import BlobTrouble
from tests.deployments.doors import application, client
from tests.service import Service, silence
from tests.uploads import SAID, left_of, send, sound_of, taken_in, wav_of


async def test_an_upload_that_is_sent_again_is_the_same(service: Service) -> None:
    wav, key = wav_of(silence(2)), str(uuid.uuid4())
    first = await send(service.api, wav, idempotency=key)
    again = await send(service.api, wav, idempotency=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    for same in ("id", "key", "viewer_key", "webhook_secret", "created_at"):
        assert first.json()[same] == again.json()[same]
    assert first.headers["Location"] == again.headers["Location"]
    other = await send(service.api, wav_of(silence(3)), idempotency=key)
    assert (other.status_code, other.json()["detail"][:35]) == (422, "This Idempotency-Key has stood for ")
    short = await send(service.api, wav, idempotency="guessable")
    assert short.status_code == 422
    recording = taken_in(service.api, again)
    await recording.until()
    async with recording.client() as http:
        assert len((await http.get(f"{service.api}/v1/recordings")).json()["recordings"]) == 1
        assert (await http.delete("")).status_code == 200
    anew = await send(service.api, wav_of(silence(3)), idempotency=key)
    assert "Idempotent-Replayed" not in anew.headers, "what was erased is taken in anew, whatever its length"
    assert taken_in(service.api, anew).id == recording.id
    assert (await recording.heard())["heard_until"] == 3.0


async def test_an_upload_that_was_refused_may_be_sent_again_under_its_key(service: Service) -> None:
    key = str(uuid.uuid4())
    assert (await send(service.api, b"no sound", idempotency=key)).status_code == 415
    taken_in(service.api, await send(service.api, wav_of(silence(1)), idempotency=key))


def begun(api: str, headers: str, body: bytes) -> bytes:
    """The beginning of a request, by hand."""
    host = api.removeprefix("http://")
    return (
        f"POST /v1/recordings HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=here\r\n{headers}"
        "\r\n\r\n"
    ).encode() + body


FILE = b'--here\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


async def connected(api: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = api.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def test_an_upload_under_way_is_not_begun_twice_and_leaves_nothing_when_it_breaks_off(service: Service) -> None:
    key, wav = str(uuid.uuid4()), wav_of(silence(60))
    boundary_and_fields = 4_000
    length = len(wav) + boundary_and_fields
    reader, writer = await connected(service.api)
    writer.write(begun(service.api, f"Idempotency-Key: {key}\r\nContent-Length: {length}", FILE + wav[: 2**20]))
    await writer.drain()
    with service.redis() as redis:
        async with asyncio.timeout(10):
            while not (arriving := redis.zrange("tonetrack:jobs:arriving", 0, -1)):
                await asyncio.sleep(0.05)
        (recording,) = (one.decode() for one in arriving)
        headers = {"Idempotency-Key": key, "Content-Type": "multipart/form-data; boundary=here"}
        async with httpx.AsyncClient(base_url=service.api, timeout=30) as http:
            busy = await http.post("/v1/recordings", content=bytes(length), headers=headers)
            assert (busy.status_code, busy.headers["Retry-After"]) == (409, "5")
            assert busy.json()["detail"].startswith("This upload is still on its way over another connection")
        writer.close()
        async with asyncio.timeout(20):
            while left_of(service, recording) or sound_of(recording):
                await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            while list(redis.scan_iter("tonetrack:idempotency:*")) != [] and (
                (await send(service.api, wav, idempotency=key)).status_code != 202
            ):
                await asyncio.sleep(0.2)
    del reader


def whole(wav: bytes) -> bytes:
    """A form with all that must be in it."""
    said = SAID | {"keep_audio": "true"}
    parts = [f'\r\n--here\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{said[name]}' for name in said]
    return FILE + wav + "".join(parts).encode() + b"\r\n--here--\r\n"


Disk = tuple[int, int, int]
FULL, EMPTY = (2**34, 2**34 - 2**29, 2**29), (2**34, 0, 2**34)  # 16 GiB: all of it, what is taken, what is left


@pytest.mark.parametrize(("disks", "asked"), [([FULL], 1), ([EMPTY, EMPTY, FULL], 3)])
async def test_uploads_leave_room_for_all_else(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disks: list[Disk], asked: int
) -> None:
    """They filled the disk to its last byte, and whatever else was on it could write no more."""
    told: list[Disk] = []

    def usage(_: Any) -> Any:
        told.append(disks[min(len(told), len(disks) - 1)])
        return SimpleNamespace(**dict(zip(("total", "used", "free"), told[-1], strict=True)))

    monkeypatch.setattr(blobs.shutil, "disk_usage", usage)
    api = application(url, tmp_path / "sound")
    body = whole(wav_of(silence(100)))

    async def coming() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 2**20):
            yield body[start : start + 2**20]

    headers = {"Content-Type": "multipart/form-data; boundary=here", "Content-Length": str(len(body))}
    async with client(api) as http:
        refused = await http.post("/v1/recordings", content=coming(), headers=headers)
    assert (refused.status_code, refused.headers["Retry-After"], refused.headers["Connection"]) == (507, "60", "close")
    assert refused.json()["detail"].startswith("There is no room for more sound here, and nothing of this was kept.")
    assert len(told) == asked
    assert list((tmp_path / "sound").iterdir()) == []
    redis = api.state.context.inbox.redis
    assert {key async for key in redis.scan_iter("tonetrack:*")} <= {b"tonetrack:quota:uploads:address:192.0.2.1"}


def headers_of(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key, "Content-Type": "multipart/form-data; boundary=here"}


async def half_sent(
    service: Service, redis: Any, key: str, body: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An upload that has stopped half way for so long that its claim is over."""
    before = set(redis.scan_iter("tonetrack:idempotency:*"))
    reader, writer = await connected(service.api)
    head = f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}"
    writer.write(begun(service.api, head, body[: len(body) // 2]))
    await writer.drain()
    async with asyncio.timeout(10):
        while not (claims := set(redis.scan_iter("tonetrack:idempotency:*")) - before):
            await asyncio.sleep(0.05)
    (claim,) = claims
    recording = claim.decode()[-17:-1]
    async with asyncio.timeout(10):
        while not sound_of(recording):
            await asyncio.sleep(0.05)
    redis.delete(claim)  # as it goes by itself after a minute
    return reader, writer


@pytest.mark.parametrize("resumes", [False, True])
async def test_a_line_that_fell_silent_does_not_erase_what_its_retry_has_brought(
    service: Service, resumes: bool
) -> None:
    """Once, what the dead line left was tidied up together with the finished recording."""
    key, wav = str(uuid.uuid4()), wav_of(silence(4))
    body = whole(wav)
    with service.redis() as redis:
        reader, writer = await half_sent(service, redis, key, body)
        async with httpx.AsyncClient(base_url=service.api, timeout=60) as http:
            retried = await http.post("/v1/recordings", content=body, headers=headers_of(key))
            recording = taken_in(service.api, retried)
            await recording.heard()
            if resumes:
                writer.write(body[len(body) // 2 :])
                await writer.drain()
                async with asyncio.timeout(20):
                    answer = (await reader.read()).decode()
                assert answer.startswith("HTTP/1.1 409 ")
                assert "This upload has begun anew over another connection" in answer
            writer.close()
            async with asyncio.timeout(20):
                while len(sound_of(recording.id)) > 1:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(1)
            assert (await recording.job())["state"] == "done"
            assert (await recording.get("/audio")).content == wav
            assert [path.name for path in sound_of(recording.id)] == [recording.id]
            assert redis.zscore("tonetrack:jobs:arriving", recording.id) is None
            again = await http.post("/v1/recordings", content=body, headers=headers_of(key))
            assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_line_that_fell_silent_does_not_erase_what_its_retry_is_bringing(service: Service) -> None:
    key, wav = str(uuid.uuid4()), wav_of(silence(4))
    body = whole(wav)
    with service.redis() as redis:
        _, silent = await half_sent(service, redis, key, body)
        reader, writer = await connected(service.api)
        head = f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\nConnection: close"
        writer.write(begun(service.api, head, body[: len(body) // 2]))
        await writer.drain()
        await asyncio.sleep(1)
        silent.close()
        await asyncio.sleep(2)
        async with httpx.AsyncClient(base_url=service.api, timeout=60) as http:
            busy = await http.post("/v1/recordings", content=body, headers=headers_of(key))
            assert busy.status_code == 409
        writer.write(body[len(body) // 2 :])
        await writer.drain()
        async with asyncio.timeout(20):
            answer = (await reader.read()).decode()
        assert answer.startswith("HTTP/1.1 202 ")
        writer.close()


@pytest.fixture
async def here(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Inbox, Any]]:
    """Uploads in this process, into a folder, with a queue that nobody takes from; an inbox and a client."""
    monkeypatch.setattr(Inbox, "_enqueue", lambda *_: None)
    settings = Settings(redis_url=SecretStr(url), blobs=str(tmp_path / "sound"))
    inbox = Inbox(settings)
    app = FastAPI()
    app.state.context = SimpleNamespace(settings=settings, inbox=inbox, gate=Gate(settings, inbox.redis))
    app.include_router(uploads.router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as http:
        yield inbox, http
    await inbox.redis.aclose()


async def test_who_sends_nothing_any_more_is_dropped(
    here: tuple[Inbox, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, http = here
    monkeypatch.setattr(bodies, "ABSENT", 0.3)
    key = str(uuid.uuid4())

    async def silent() -> AsyncIterator[bytes]:
        yield FILE + bytes(1_000)
        await asyncio.sleep(30)

    async with asyncio.timeout(10):
        answer = await http.post("/v1/recordings", content=silent(), headers=headers_of(key))
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")
    assert answer.json()["detail"].startswith("Nothing has come for ")
    assert list((tmp_path / "sound").iterdir()) == []
    assert await inbox.redis.zcard("tonetrack:jobs:arriving") == 0
    body = whole(wav_of(silence(1)))
    assert (await http.post("/v1/recordings", content=body, headers=headers_of(key))).status_code == 202


async def test_an_upload_lives_while_it_is_examined(here: tuple[Inbox, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    inbox, http = here
    monkeypatch.setattr(uploads, "SIGN_OF_LIFE", 0.1)
    monkeypatch.setattr(idempotency, "ARRIVING_MS", 500)
    examine = inbox.examine

    def slowly(*of: str) -> Any:
        time.sleep(2)
        return examine(*of)

    monkeypatch.setattr(inbox, "examine", slowly)
    body, headers = whole(wav_of(silence(1))), headers_of(str(uuid.uuid4()))
    first = asyncio.create_task(http.post("/v1/recordings", content=body, headers=headers))
    await asyncio.sleep(1.5)
    assert (await http.post("/v1/recordings", content=body, headers=headers)).status_code == 409
    assert (await first).status_code == 202


async def test_what_could_not_be_erased_can_be_asked_for_again(
    here: tuple[Inbox, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, the job went before the sound, and with it whoever could ask for the rest."""
    inbox, http = here
    headers = headers_of(str(uuid.uuid4()))
    told = (await http.post("/v1/recordings", content=whole(wav_of(silence(1))), headers=headers)).json()

    def away(recording: str) -> None:
        raise BlobTrouble(f"no store for {recording}")

    with monkeypatch.context() as broken:
        broken.setattr(inbox.blobs, "erase", away)
        with pytest.raises(BlobTrouble):
            await inbox.erase(told["id"])
    assert await inbox.jobs.known(told["id"])
    await inbox.erase(told["id"])
    assert not await inbox.jobs.known(told["id"])
    claim: Any = idempotency.claim_key(told["id"])
    assert 0 < await inbox.redis.pttl(claim) <= 120_000


async def test_too_much_is_refused_before_it_is_sent(service: Service) -> None:
    reader, writer = await connected(service.api)
    writer.write(begun(service.api, f"Content-Length: {3 * 2**30}", b""))
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode()  # to the end: nobody waits for the rest
    assert answer.startswith("HTTP/1.1 413 ")
    assert "A recording has 2,048 MiB at most; send it as mp3, m4a or opus, or in parts." in answer
    writer.close()
