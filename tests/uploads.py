"""Uploads of recordings, as a program sends them, and what tests do with what becomes of them."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

from pipeline.timeline import SAMPLE_RATE
from tests.service import Pcm, Service

SAID = {"purpose": "research", "consent": "true"}
ROUNDING = 0.0002
Json = dict[str, Any]


def wav_of(pcm: Pcm) -> bytes:
    """Int16 samples (n,) or (n, channels) as a wav."""
    file = io.BytesIO()
    soundfile.write(file, pcm, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def tiled(pcm: Pcm, seconds: float) -> Pcm:
    """The same over and over, for so many seconds."""
    return np.resize(pcm, round(seconds * SAMPLE_RATE))


def assert_alike(mine: Any, theirs: Any, where: str = "") -> None:
    """The same JSON, but for how its fractions were rounded: another processor adds them up in another order."""
    if isinstance(mine, float) and isinstance(theirs, float):
        assert abs(mine - theirs) <= ROUNDING, where
    elif isinstance(mine, dict) and isinstance(theirs, dict):
        assert mine.keys() == theirs.keys(), where
        for key in mine:
            assert_alike(mine[key], theirs[key], f"{where}/{key}")
    elif isinstance(mine, list) and isinstance(theirs, list):
        assert len(mine) == len(theirs), where
        for number, pair in enumerate(zip(mine, theirs, strict=True)):
            assert_alike(*pair, f"{where}/{number}")
    else:
        assert mine == theirs, where


def heard_in(timeline: Json) -> Json:
    """What was heard, without what was declared, of which every upload has its own."""
    return {name: value for name, value in timeline.items() if name != "declared"}


class Client(httpx.AsyncClient):
    """A client whose paths begin at a recording; an empty one is the recording's own."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        super().__init__(headers=headers, timeout=60)
        self._recording = url

    async def request(self, method: str, url: Any, **how: Any) -> httpx.Response:
        return await super().request(method, url if "://" in url else self._recording + url, **how)


@dataclass(frozen=True)
class Uploaded:
    """A recording that a server has taken in."""

    api: str
    id: str
    key: str
    viewer_key: str
    webhook_secret: str

    @property
    def url(self) -> str:
        """Its place."""
        return f"{self.api}/v1/recordings/{self.id}"

    def client(self, key: str | None = None) -> Client:
        """A client of its routes, with its owner's key or another; an empty one: without."""
        key = self.key if key is None else key
        return Client(self.url, {"Authorization": f"Bearer {key}"} if key else {})

    async def get(self, path: str = "", status: int = 200, **headers: str) -> httpx.Response:
        """What its owner sees at a path."""
        async with self.client() as http:
            answer = await http.get(path, headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    async def job(self) -> Json:
        """How far it is."""
        job: Json = (await self.get()).json()
        return job

    async def until(self, *states: str, seconds: float = 240) -> Json:
        """Wait until it is in one of these states, by default those in which it is over."""
        async with asyncio.timeout(seconds):
            while (job := await self.job())["state"] not in (states or ("done", "failed", "cancelled")):
                await asyncio.sleep(0.1)
        return job

    async def soundless(self, seconds: float = 60) -> Json:
        """Wait until its sound is erased, which is done once it is over."""
        async with asyncio.timeout(seconds):
            while (job := await self.job())["audio"] or sound_of(self.id):
                await asyncio.sleep(0.1)
        return job

    async def heard(self, seconds: float = 240) -> Json:
        """Wait until it is heard; its timeline."""
        job = await self.until(seconds=seconds)
        assert job["state"] == "done", job
        timeline: Json = (await self.get("/timeline")).json()
        return timeline

    async def followed(self) -> AsyncIterator[tuple[str, Json]]:
        """Its server-sent events, to their end."""
        async with self.client() as http, http.stream("GET", f"{self.url}/events") as stream:
            assert stream.status_code == 200
            assert stream.headers["content-type"].startswith("text/event-stream")
            kind = ""
            async for line in stream.aiter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                if line.startswith("data: "):
                    yield kind, json.loads(line.removeprefix("data: "))


async def send(
    api: str,
    data: bytes,
    name: str = "talk.wav",
    key: str | None = None,
    idempotency: str | None = None,
    said: Json | None = None,
    **more: str,
) -> httpx.Response:
    """Upload a recording; `said` stands for what a form says by default, `more` comes on top of it."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    headers |= {"Idempotency-Key": idempotency} if idempotency else {}
    async with httpx.AsyncClient(base_url=api, timeout=120) as http:
        form = (SAID if said is None else said) | more
        return await http.post("/v1/recordings", data=form, files={"file": (name, data)}, headers=headers)


def taken_in(api: str, answer: httpx.Response) -> Uploaded:
    """The recording of an upload that was taken in."""
    assert answer.status_code == 202, answer.text
    told = answer.json()
    return Uploaded(api, told["id"], told["key"], told["viewer_key"], told["webhook_secret"])


async def upload(api: str, data: bytes, name: str = "talk.wav", **more: Any) -> Uploaded:
    """Upload a recording that is taken in."""
    return taken_in(api, await send(api, data, name, **more))


def sound_of(recording: str) -> list[Path]:
    """The files of its sound, in whatever service's folder; an id is in one."""
    return list(Path(tempfile.gettempdir()).glob(f"tonetrack-sound-*/recordings/{recording}*"))


def left_of(service: Service, recording: str) -> list[str]:
    """The keys of Redis that name or list a recording."""
    found = []
    with service.redis() as redis:
        for key in redis.scan_iter():
            kind = redis.type(key)
            listed = redis.zrange(key, 0, -1) if kind == b"zset" else []
            if recording.encode() in key or recording.encode() in listed:
                found.append(key.decode())
    return found
