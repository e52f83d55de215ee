"""Uploaded recordings from the outside: sends them, follows what becomes of them, fetches what was heard.

A line that breaks is taken up again, and a server that asks to wait is waited for.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, cast
from urllib.parse import quote

import httpx

from deployments.client import with_api_key
from pipeline.job import Job
from pipeline.looks import Look
from pipeline.plain import one_line

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # s; between attempts to come back
ATTEMPTS: Final = 8  # in a row over a line that breaks
PATIENCE: Final = 3_600.0  # s that a server may ask to wait, all in all, for one answer
DEFAULT_PAUSE: Final = 5.0  # s to wait where a server does not say how long
FOLLOW_SECONDS: Final = 0.5  # between two looks at a recording
ALIVE: Final = '{"status":"alive"}'
PAGE: Final = 200  # recordings in one answer

OnWait = Callable[[str], None]
OnSent = Callable[[int, int], None]


class Refused(RuntimeError):
    """The server's no, in its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NoServer(RuntimeError):
    """Nobody answers, or not any more."""


def no_wait(reason: str) -> None:
    """Nobody asks what is waited for."""


class Recordings:
    """The recordings under one key on a server. Without a key the first upload makes one.

    `api_key`: what a server may require for uploads. Every method raises `Refused` and `NoServer`.
    """

    def __init__(
        self,
        server: str,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        api_key: str | None = None,
    ) -> None:
        self.server = server.rstrip("/")
        self.key = key
        timeout = httpx.Timeout(30, read=180)  # a large upload is examined before it is answered
        try:
            self._http = httpx.AsyncClient(
                base_url=self.server, headers=with_api_key(api_key), timeout=timeout, transport=transport
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise NoServer(f"{server} is no address of a server: {error}") from error

    async def __aenter__(self) -> Recordings:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def reach(self) -> None:
        """Find out at once whether a service is there at all."""
        if (await self._once("GET", "/healthz", refusing=False)).text != ALIVE:
            raise NoServer(f"What answers at {self.server} is no ToneTrack service.")

    async def check(self) -> None:
        """The same, and whether it knows the key."""
        await self.reach()
        if self.key is not None:
            await self._ask("GET", "/v1/recordings", lambda: {"params": {"limit": 1}})

    async def upload(
        self,
        file: BinaryIO,
        name: str,
        said: Mapping[str, str],
        idempotency_key: str,
        on_sent: OnSent,
        on_wait: OnWait = no_wait,
    ) -> dict[str, Any]:
        """Send a recording from an open file, which must be able to seek; what the server says of it, keys included.

        `on_sent` is told the bytes sent so far and their number. Repeats under one `idempotency_key` are one upload.
        """

        def request() -> dict[str, Any]:
            file.seek(0)
            return {
                "headers": {"Idempotency-Key": idempotency_key},
                "data": dict(said),
                "files": {"file": (name, cast(Any, _Counted(file, on_sent)), "application/octet-stream")},
            }

        answer = (await self._ask("POST", "/v1/recordings", request, on_wait)).json()
        self.key = self.key or str(answer["key"])
        return cast(dict[str, Any], answer)

    async def job(self, recording: str) -> Job:
        """How far a recording is."""
        return Job.model_validate((await self._ask("GET", _path(recording))).json())

    async def followed(self, recording: str) -> AsyncIterator[Job]:
        """How far a recording is, again and again, until it is over."""
        while True:
            job = await self.job(recording)
            yield job
            if job.state.over:
                return
            await asyncio.sleep(FOLLOW_SECONDS)

    async def fetched(self, recording: str, extension: str) -> bytes:
        """What was heard, in the format of an extension, or as a report: html."""
        form = "report.html" if extension == "html" else f"timeline.{extension}"
        return (await self._ask("GET", _path(recording, form))).content

    async def owned(self) -> AsyncIterator[Job]:
        """All recordings under the key, newest first."""
        cursor: str | None = None
        while True:
            query = f"limit={PAGE}" + (f"&cursor={cursor}" if cursor else "")
            page = (await self._ask("GET", f"/v1/recordings?{query}")).json()
            for job in page["recordings"]:
                yield Job.model_validate(job)
            cursor = page["next"]
            if cursor is None:
                return

    async def renew_key(self) -> str:
        """Another key to all that is under this one, which opens nothing any more. Asked once: a repeat is refused."""
        self.key = str((await self._once("POST", "/v1/recordings/key")).json()["key"])
        return self.key

    async def cancel(self, recording: str) -> Job:
        """Have it heard no more."""
        return Job.model_validate((await self._ask("POST", _path(recording, "cancel"))).json())

    async def retry(self, recording: str) -> Job:
        """Send what was given up to the queue again."""
        return Job.model_validate((await self._ask("POST", _path(recording, "retry"))).json())

    async def looks(self, recording: str) -> list[Look]:
        """Who has looked at it, the newest first."""
        told = (await self._ask("GET", _path(recording, "looks"))).json()
        return [Look.model_validate(look) for look in told["looks"]]

    async def erase(self, recording: str, kind: str = "recordings") -> bool:
        """Erase it from the server; returns whether it was there. `kind`: recordings or sessions."""
        try:
            await self._ask("DELETE", f"/v1/{kind}/{quote(recording, safe='')}")
        except Refused as error:
            if error.status != 404:
                raise
            return False
        return True

    async def _ask(
        self,
        method: str,
        path: str,
        request: Callable[[], dict[str, Any]] = dict,
        on_wait: OnWait = no_wait,
    ) -> httpx.Response:
        """The answer to a request that may be sent twice, made anew by `request` for each attempt."""
        failures, until = 0, time.monotonic() + PATIENCE
        while True:
            try:
                return await self._once(method, path, **request())
            except NoServer as error:
                failures += 1
                if failures == ATTEMPTS:
                    raise
                on_wait(str(error))
                await asyncio.sleep(min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT) * random.uniform(0.5, 1.0))
            except _Later as error:
                failures = 0
                if time.monotonic() + error.seconds > until:
                    raise
                on_wait(str(error))
                await asyncio.sleep(error.seconds)

    async def _once(self, method: str, path: str, refusing: bool = True, **request: Any) -> httpx.Response:
        headers = request.pop("headers", {}) | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        try:
            answer = await self._http.request(method, path, headers=headers, **request)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeEncodeError) as error:
            raise Refused(400, f"This cannot be asked of {self.server}: {error}") from error
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise NoServer(f"No service answers at {self.server} ({why}); is `tonetrack up` running?") from error
        if answer.is_success or not refusing:
            return answer
        pause = _seconds(answer.headers.get("Retry-After"))
        if answer.status_code in (429, 503, 507) or (
            answer.status_code == 409 and method == "POST" and pause is not None
        ):
            raise _Later(answer.status_code, _detail(answer), DEFAULT_PAUSE if pause is None else pause)
        raise Refused(answer.status_code, _detail(answer))


class _Later(Refused):
    """The server asks to come back after so many seconds."""

    def __init__(self, status: int, message: str, seconds: float) -> None:
        super().__init__(status, message)
        self.seconds = seconds


class _Counted:
    """An open file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, on_sent: OnSent) -> None:
        self._file = file
        self._on_sent = on_sent
        self._size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._on_sent(self._file.tell(), self._size)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def idempotency_key(run: str, source: str) -> str:
    """What one upload of a run is known by, however often it is sent. Nobody can guess it who does not know the run."""
    return hashlib.sha256(f"{run}\n{source}".encode(errors="surrogatepass")).hexdigest()


def keep_private(known: Mapping[str, Any], path: Path) -> None:
    """Write as JSON what nobody else may read. Raises `OSError`."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)  # of a file that was there already, too, and before anything is in it
        file.write(json.dumps(known, indent=1) + "\n")


def _path(recording: str, what: str = "") -> str:
    """Of a recording; what people type for its id leads nowhere else."""
    return f"/v1/recordings/{quote(recording, safe='')}" + (f"/{what}" if what else "")


def _seconds(retry_after: str | None) -> float | None:
    with suppress(ValueError, TypeError):
        return min(max(0.0, float(cast(str, retry_after))), PATIENCE)
    return None


def _detail(answer: httpx.Response) -> str:
    """What a server says was wrong."""
    with suppress(ValueError):
        detail = answer.json().get("detail") if isinstance(answer.json(), dict) else None
        if isinstance(detail, str) and detail:
            return one_line(detail)
    return f"The server answered {answer.status_code} {answer.reason_phrase}."
