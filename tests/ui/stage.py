"""What the page needs around it in a test: a Redis, its own server, and a backend that plays the script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Request, Route
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from pipeline.events import Event
from pipeline.session import NewSession, Role, SessionRecord, SessionRequest, UnknownSession
from pipeline.store import SessionStore, connect
from tests.ui.conversation import ended, hops
from ui.settings import PageSettings

ROOT = Path(__file__).parents[2]
FRAMES_PER_HOP = 1
CORS = {"access-control-allow-origin": "*", "access-control-allow-headers": "*", "access-control-allow-methods": "*"}


def stamped(events: list[Event], arrived_at: float) -> list[Event]:
    """Events as if their sound had arrived then."""
    return [event.model_copy(update={"arrived_at": arrived_at}) for event in events]


@contextlib.contextmanager
def running_page(settings: PageSettings) -> Iterator[str]:
    """The page's server as a process; yields its URL, and checks that SIGTERM ends it cleanly."""
    environment = os.environ | {
        "TONETRACK_REDIS_URL": settings.redis_url.get_secret_value(),
        "TONETRACK_HOST": settings.host,
        "TONETRACK_UI_PORT": str(settings.ui_port),
        "TONETRACK_PORT": str(settings.port),
        "TONETRACK_PAGES_PER_MINUTE": str(settings.pages_per_minute),
        "TONETRACK_PAGES_PER_CALLER": str(settings.pages_per_caller),
    }
    process = subprocess.Popen([sys.executable, "-m", "ui.server"], cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{settings.ui_port}"
    try:
        _wait_for_page(url, process)
        yield url
    finally:
        process.terminate()
        code = process.wait(15)
    assert code == 0, f"the page's server ended with {code}"


class Backend:
    """The recorder's WebSocket, and a pipeline that knows its lines by heart; `answer` is what it says over HTTP.

    `asked` are the requests that opened sessions or gave them another viewer key, `refusal` an answer in their place;
    `frames` holds what arrived, by number; `drop_at` breaks the line once, when that frame has come in but is not
    acknowledged. `refuse` closes every new line with a code.
    """

    def __init__(self, redis_url: str, port: int, seconds: float = 120.0) -> None:
        self.redis_url, self.port = redis_url, port
        self.frames: dict[int, bytes] = {}
        self.order: list[int] = []
        self.hellos: list[dict[str, Any]] = []
        self.drop_at: int | None = None
        self.refuse: tuple[int, str] | None = None
        self.asked: list[Request] = []
        self.refusal: tuple[int, dict[str, str]] | None = None
        self._script = list(hops(seconds))
        self._played = 0
        self._after_end = len(self._script) + 1  # steps count up
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Backend:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_exception: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def held(self, seconds: float = 30.0, *more: Event) -> NewSession:
        """A session in which the conversation has been, and ended, with what else was heard in it."""

        async def hold() -> NewSession:
            session = await self.store.create(SessionRequest(purpose="research", consent=True))
            heard = [event for hop in hops(seconds) for event in hop]
            await self.store.publish(session.id, 1, [*heard, *more, ended(seconds)])
            await self.store.stop(session.id)
            return session

        return asyncio.run_coroutine_threadsafe(hold(), self._loop).result(10)

    def answer(self, route: Route) -> None:
        """What the API says to a page that opens a session, erases one, or gives it another viewer key."""
        request = route.request
        if request.method == "OPTIONS":
            route.fulfill(status=204, headers=CORS)
            return
        self.asked.append(request)
        if self.refusal:
            status, told = self.refusal
            route.fulfill(status=status, json=told, headers=CORS)
            return

        async def answered() -> dict[str, str]:
            if request.url.endswith("/viewer-key"):
                return {"viewer_key": await self.store.renew_viewer_key(request.url.split("/")[-2])}
            if request.method == "DELETE":
                await self.store.erase(request.url.split("/")[-1])
                return {}
            session = await self.store.create(SessionRequest.model_validate(request.post_data_json))
            return {"id": session.id, "recorder_key": session.recorder_key, "viewer_key": session.viewer_key}

        told = asyncio.run_coroutine_threadsafe(answered(), self._loop).result(10)
        route.fulfill(status=201, json=told, headers=CORS)

    def tell(self, session: str, *events: Event) -> None:
        """Publish what comes after the end."""
        self._after_end += 1
        telling = self.store.publish(session, self._after_end, events)
        assert asyncio.run_coroutine_threadsafe(telling, self._loop).result(10)

    def record(self, session: str) -> SessionRecord:
        """What the store knows of a session."""
        return asyncio.run_coroutine_threadsafe(self.store.record(session), self._loop).result(10)

    def enrol(self, name: str) -> dict[str, str]:
        """Keep a voice, as sessions may be opened with; what a browser knows of it."""
        adding = self.store.voices.add(name, np.ones(4, np.float32), 9.0, "any", 3_600)
        voice = asyncio.run_coroutine_threadsafe(adding, self._loop).result(10)
        return {"id": voice.record.id, "key": voice.key, "name": name}

    def renew_recorder_key(self, session: str) -> None:
        """Give a session another recorder key."""
        asyncio.run_coroutine_threadsafe(self.store.renew_recorder_key(session), self._loop).result(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._ready.set()
        self._loop.run_forever()

    async def _open(self) -> None:
        self._redis = connect(self.redis_url)
        self.store = SessionStore(self._redis, retention=3_600)
        self._server = await serve(self._line, "127.0.0.1", self.port)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        await self._redis.aclose()

    async def _line(self, line: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._record(line)

    async def _record(self, line: ServerConnection) -> None:
        hello = json.loads(await line.recv())
        self.hellos.append(hello)
        assert line.request is not None
        session = line.request.path.split("/")[3]
        refusal = self.refuse or await self._refusal(session, hello["key"])
        if refusal:
            code, reason = refusal
            await line.send(json.dumps({"type": "error", "code": str(code), "message": reason}))
            await line.close(code)
            return
        welcome = {"type": "welcome", "next_frame": len(self.frames), "heartbeat": 10, "max_frame_bytes": 65_536}
        await line.send(json.dumps(welcome))
        async for message in line:
            if isinstance(message, bytes):
                if not await self._take(line, session, message):
                    return
            elif json.loads(message)["type"] == "ping":
                await line.send('{"type": "pong"}')
            elif json.loads(message)["type"] == "stop":
                await self._finish(line, session)

    async def _refusal(self, session: str, key: str) -> tuple[int, str] | None:
        try:
            role = await self.store.role(session, key)
        except UnknownSession:
            return 4404, "unknown session"
        return None if role is Role.RECORDER else (4401, "wrong key")

    async def _take(self, line: ServerConnection, session: str, message: bytes) -> bool:
        """Take a frame in; False where the line is broken, whatever has come over it besides."""
        number, payload = int.from_bytes(message[:4]), message[4:]
        if number == self.drop_at:
            self.drop_at = None
            line.transport.abort()
            return False
        self.order.append(number)
        assert number <= len(self.frames), f"frame {number} came where {len(self.frames)} was expected"
        self.frames.setdefault(number, payload)
        await line.send(json.dumps({"type": "ack", "next_frame": len(self.frames)}))
        while self._played < min(len(self.frames) // FRAMES_PER_HOP, len(self._script)):
            events = stamped(self._script[self._played], time.time() - 0.4)
            self._played += 1
            await self.store.publish(session, self._played, events)
        return True

    async def _finish(self, line: ServerConnection, session: str) -> None:
        seconds = len(self.frames) / 4
        await self.store.publish(session, self._played + 1, [ended(seconds)])
        await self.store.stop(session)
        await line.send(json.dumps({"type": "stopped", "seconds": seconds}))
        await line.close(1000)


def _wait_for_page(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"the page's server ended with {process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/healthz", timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError("the page's server did not come up")
