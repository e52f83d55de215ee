"""A recorder in Python: speaks PROTOCOL.md, loses nothing when the line drops. Tests and load tools use it too."""

from __future__ import annotations

import asyncio
import random
import secrets
import ssl
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from deployments.protocol import (
    Ack,
    Close,
    Failed,
    Hello,
    Ping,
    Stop,
    Stopped,
    Welcome,
    from_server,
    pack_frame,
)
from pipeline import tasks
from pipeline.events import Event, parse

FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0  # s; between attempts to come back
BUSY_WAIT = 10.0  # s; half of that at least, where the server is full
ANSWER_SECONDS = 30.0  # until a server answers a request
WELCOME_SECONDS = 10.0  # from hello to an answer
FINAL = {Close.BAD_MESSAGE, Close.WRONG_KEY, Close.UNKNOWN_SESSION, Close.TAKEN_OVER, Close.OVER} | {
    Close.TOO_LARGE,
    Close.UNDECODABLE,
}


class RecordingRefused(RuntimeError):
    """The server will not have this recording; the message is the server's own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Session:
    """A session on a server. `api`: its base URL, http(s)."""

    api: str
    id: str
    recorder_key: str
    viewer_key: str

    @property
    def socket(self) -> str:
        """URL of the recorder's WebSocket."""
        parts = urlsplit(self.api)
        scheme = "wss" if parts.scheme == "https" else "ws"
        return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/v1/sessions/{self.id}/audio", "", ""))

    async def get(self, path: str = "") -> Any:
        """The JSON at a path below the session. Raises `httpx.HTTPStatusError`."""
        async with _http(self.api, self._as_recorder) as http:
            answer = await http.get(f"/v1/sessions/{self.id}{path}")
            return answer.raise_for_status().json()

    async def erase(self) -> Any:
        """Erase everything that the server knows of the session."""
        async with _http(self.api, self._as_recorder) as http:
            answer = await http.delete(f"/v1/sessions/{self.id}")
            return answer.raise_for_status().json()

    async def events(self, after: str = "0") -> AsyncIterator[tuple[str, Event]]:
        """Everything published so far and from now on, with entry ids, until the session ends."""
        headers = self._as_recorder | {"Last-Event-ID": after}
        async with (
            _http(self.api, headers, timeout=httpx.Timeout(ANSWER_SECONDS, read=60)) as http,
            http.stream("GET", f"/v1/sessions/{self.id}/events") as answer,
        ):
            answer.raise_for_status()
            entry = after
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    entry = line[4:]
                elif line == "event: session.erased":
                    return
                elif line.startswith("data: "):
                    yield entry, parse(line[6:])

    @property
    def _as_recorder(self) -> dict[str, str]:
        # Not the viewer key: what a recorder sees of their own session must not look like somebody else's look.
        return {"Authorization": f"Bearer {self.recorder_key}"}


def with_api_key(api_key: str | None) -> dict[str, str]:
    """The header that an API key goes in, where there is one."""
    return {"X-API-Key": api_key} if api_key else {}


def _http(api: str, headers: dict[str, str], timeout: float | httpx.Timeout = ANSWER_SECONDS) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=api, headers=headers, timeout=timeout, verify=_authorities())


@cache
def _authorities() -> ssl.SSLContext:
    """Whom to trust. To read it anew takes each request 30 ms, in which whoever records does not send either."""
    return httpx.create_ssl_context()


async def open_session(api: str, purpose: str, name: str = "", *, api_key: str | None = None, **hints: Any) -> Session:
    """Open a session; calling it declares that everyone who will be heard has agreed.

    `hints`: whatever else `pipeline.session.SessionRequest` takes. Raises `httpx.HTTPStatusError`.
    """
    async with _http(api, with_api_key(api_key)) as http:
        request = {"purpose": purpose, "consent": True, "name": name, **hints}
        answer = (await http.post("/v1/sessions", json=request)).raise_for_status().json()
    return Session(api, answer["id"], answer["recorder_key"], answer["viewer_key"])


async def add_voice(api: str, file: Path, name: str, days: int = 30, api_key: str | None = None) -> Any:
    """Enrol the voice in an audio file; calling it declares that whoever is heard has agreed.

    Returns what the server says of it, with the key that is shown this once. Raises `httpx.HTTPStatusError`.
    """
    async with _http(api, with_api_key(api_key), timeout=120) as http:
        said = {"name": name, "consent": "true", "days": str(days)}
        sound = await asyncio.to_thread(file.read_bytes)
        answer = await http.post("/v1/voices", data=said, files={"file": (file.name, sound)})
        return answer.raise_for_status().json()


async def remove_voice(api: str, voice: str, key: str) -> Any:
    """Erase an enrolled voice. Raises `httpx.HTTPStatusError`."""
    async with _http(api, {"Authorization": f"Bearer {key}"}) as http:
        return (await http.delete(f"/v1/voices/{voice}")).raise_for_status().json()


class Recorder:
    """Sends one recording. Frames are kept until they are acknowledged, and sent again after a broken line."""

    def __init__(self, session: Session, codec: Literal["pcm16", "webm"] = "pcm16", patient: bool = True) -> None:
        """`patient`: come again where there is no room yet."""
        self._session = session
        self._codec = codec
        self._patient = patient
        self._kept: deque[bytes] = deque()
        self._first: int | None = None  # number of the oldest frame kept, once the server has said where to begin
        self._over = False
        self._changed = asyncio.Condition()
        self._socket: ClientConnection | None = None
        self._name = secrets.token_hex(8)
        self.breaks: list[int] = []  # close codes of the lines that broke; 1006 for one that broke without a word
        self.welcomed = asyncio.Event()  # once the server has let it in

    async def record(self, frames: AsyncIterator[bytes]) -> float:
        """Send all frames, stop, and return the seconds that the server heard. Raises `RecordingRefused`."""
        gathering = asyncio.create_task(self._gather(frames))
        conversing = asyncio.create_task(self._converse_until_heard())
        try:
            await asyncio.wait({gathering, conversing}, return_when=asyncio.FIRST_COMPLETED)
            if gathering.done():
                gathering.result()  # a source that fails ends the recording with its own error
            return await conversing
        finally:
            await tasks.end(gathering, conversing)

    @property
    def reconnects(self) -> int:
        """How often it has come back, or tried to."""
        return len(self.breaks)

    def interrupt(self) -> None:
        """Break the line as a failing network would, without a word."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def _gather(self, frames: AsyncIterator[bytes]) -> None:
        async for frame in frames:
            async with self._changed:
                self._kept.append(frame)
                self._changed.notify_all()
        async with self._changed:
            self._over = True
            self._changed.notify_all()

    async def _converse_until_heard(self) -> float:
        wait = FIRST_WAIT
        while True:
            try:
                return await self._converse()
            except (RecordingRefused, ConnectionClosed, InvalidHandshake, OSError) as error:
                code = _code_of(error)
                if code in FINAL or not (self._patient or self.welcomed.is_set()):
                    raise RecordingRefused(code, str(error)) from error
                self.breaks.append(code)
                pause = BUSY_WAIT if code == Close.BUSY else wait
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                wait = FIRST_WAIT if isinstance(error, ConnectionClosed) else min(2 * wait, LONGEST_WAIT)

    async def _converse(self) -> float:
        async with connect(self._session.socket, max_size=None, ping_interval=None) as socket:
            self._socket = socket
            pcm = {"sample_rate": 16_000, "channels": 1} if self._codec == "pcm16" else {}
            hello = Hello.model_validate(
                {"key": self._session.recorder_key, "codec": self._codec, "recorder": self._name, **pcm}
            )
            await socket.send(hello.model_dump_json(exclude_none=True))
            async with asyncio.timeout(WELCOME_SECONDS):
                welcome = from_server.validate_json(await socket.recv())
            if isinstance(welcome, Stopped):
                return welcome.seconds  # the stop had arrived before the line broke
            if isinstance(welcome, Failed):
                raise RecordingRefused(Close[welcome.code.upper()], welcome.message)
            if not isinstance(welcome, Welcome):
                raise RecordingRefused(Close.BAD_MESSAGE, f"the server began with {welcome.type}")
            self.welcomed.set()
            self._drop_before(welcome.next_frame)
            sending = asyncio.create_task(self._send(socket, welcome.next_frame))
            pinging = asyncio.create_task(self._ping(socket, welcome.heartbeat))
            try:
                return await self._listen(socket, silence=3 * welcome.heartbeat)
            finally:
                await tasks.end(sending, pinging)

    async def _listen(self, socket: ClientConnection, silence: float) -> float:
        message = ""
        while True:
            try:
                async with asyncio.timeout(silence):
                    answer = from_server.validate_json(await socket.recv())
            except ConnectionClosed as closed:
                if message and closed.rcvd and closed.rcvd.code in FINAL:
                    raise RecordingRefused(closed.rcvd.code, message) from closed
                raise
            match answer:
                case Ack():
                    self._drop_before(answer.next_frame)
                case Stopped():
                    return answer.seconds
                case Failed():
                    message = answer.message

    async def _send(self, socket: ClientConnection, number: int) -> None:
        while (frame := await self._next(number)) is not None:
            await socket.send(pack_frame(number, frame))
            number += 1
        await socket.send(Stop().model_dump_json())

    @staticmethod
    async def _ping(socket: ClientConnection, heartbeat: float) -> None:
        while True:
            await asyncio.sleep(heartbeat)
            await socket.send(Ping().model_dump_json())

    async def _next(self, number: int) -> bytes | None:
        """A frame as soon as it is there, or None after the last."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._over or self._frame(number) is not None)
            return self._frame(number)

    def _frame(self, number: int) -> bytes | None:
        index = number - (self._first or 0)
        return self._kept[index] if 0 <= index < len(self._kept) else None

    def _drop_before(self, number: int) -> None:
        if self._first is None:
            self._first = number
        while self._first < number and self._kept:
            self._kept.popleft()
            self._first += 1


def _code_of(error: Exception) -> int:
    """The close code with which a line has broken; 1006 for one that broke without a word."""
    if isinstance(error, RecordingRefused):
        return error.code
    return error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else 1006
