"""The application itself over a real Redis, without models: what the tests of its doors share."""

from __future__ import annotations

from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from deployments.context import Context
from deployments.gate import Gate
from deployments.inbox import Inbox
from deployments.ingress import build_api
from deployments.protocol import Hello
from deployments.sessions import open_store
from deployments.settings import Settings

ASKED = {"purpose": "research", "consent": True}
HOST = "http://tone.example:8000"


async def enrolled(_audio: Any) -> tuple[Any, float, str]:
    return np.ones(64, np.float32), 10.0, "v1"


async def nothing() -> None:
    pass


def at_ease(**methods: Any) -> Any:
    """Session actors that have all the room there is, and what else a test asks of them."""
    return SimpleNamespace(full=False, nearly_full=False, room=inf, recorders=0, people=0, look=nothing, **methods)


def application(url: str, folder: Path, **settings: Any) -> FastAPI:
    """The API, whose diariser finds a voice in anything."""
    chosen = Settings(redis_url=url, blobs=str(folder), **settings)  # type: ignore[arg-type]
    actor = at_ease(actor=lambda _: None, cadence=lambda _: 1)
    diariser: Any = SimpleNamespace(enrol=SimpleNamespace(remote=enrolled))
    inbox = Inbox(chosen)
    return build_api(Context(chosen, open_store(chosen), actor, diariser, inbox, Gate(chosen, inbox.redis)))


def client(api: FastAPI, address: str = "192.0.2.1", **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(api, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url=HOST, headers=headers)


def hello(session: dict[str, str]) -> str:
    return Hello(key=session["recorder_key"]).model_dump_json(exclude_none=True)
