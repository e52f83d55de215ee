"""How much a request may say, and how slowly: JSON is read whole before any key is, so its bounds come first.

What is longer, recordings and voices, is read as it arrives, no further than it may go and no longer than it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from math import inf
from typing import Final

from fastapi import HTTPException, Request
from fastapi.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.origins import READING
from deployments.room import Crowded, Room
from deployments.routes.access import address_of
from pipeline.jobs import ABSENT
from pipeline.quotas import from_address

FORM: Final = 2**20  # bytes that a form may have besides its file
LONGEST_BODY: Final = 65_536  # bytes; a session with all its voices takes 3,000
BODY_SECONDS: Final = 20.0  # from its first byte that is waited for to its last
MOST_BODIES: Final = 64  # on their way to a replica at once from one address
FILES: Final = ("/v1/recordings", "/v1/voices")  # whose uploads count for themselves, as they arrive


class ShortBodies:
    """An application whose requests but uploads are short, and here soon: others are answered 413, 408 and 429."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._coming = Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's."""
        if scope["type"] != "http" or scope["method"] in READING or scope["path"] in FILES:
            return await self._app(scope, receive, send)
        with ExitStack() as stay:
            await self._app(scope, self._bounded(from_address(address_of(HTTPConnection(scope))), receive, stay), send)

    def _bounded(self, address: str, receive: Receive, stay: ExitStack) -> Receive:
        """The same messages; whoever reads a body lets the `HTTPException` pass that is raised where it must end.

        `stay`: holds a place from when the body is first waited for until it is here.
        """
        received, ends_at, whole = 0, 0.0, False

        async def bounded() -> Message:
            nonlocal received, ends_at, whole
            if whole:
                return await receive()
            if not ends_at:
                ends_at = asyncio.get_running_loop().time() + BODY_SECONDS
                try:
                    stay.enter_context(self._coming.place(address, inf, MOST_BODIES))
                except Crowded as error:
                    text = f"{MOST_BODIES} requests from this address are still coming in; send this one again shortly."
                    raise HTTPException(429, text, {"Retry-After": f"{BODY_SECONDS:.0f}"}) from error
            try:
                async with asyncio.timeout_at(ends_at):
                    message = await receive()
            except TimeoutError as error:
                text = f"Not all of this request has come within {BODY_SECONDS:.0f} seconds; send it again."
                raise HTTPException(408, text, {"Connection": "close"}) from error
            received += len(message.get("body", b""))
            if received > LONGEST_BODY:
                text = f"A request has {LONGEST_BODY // 1_024} KiB at most; only recordings and voices may be longer."
                # The line stays: closed under who still sends, it would take the answer along.
                raise HTTPException(413, text)
            if not message.get("more_body"):
                whole = True
                stay.close()
            return message

        return bounded


async def arriving(request: Request, most: int, too_much: HTTPException) -> AsyncIterator[bytes]:
    """A body with a file of `most` bytes, block by block. Raises `too_much`, and 408 where nothing comes any more.

    All of it counts: the headers in a form and what follows its end are not the file, and would go on for ever.
    """
    body, received = aiter(request.stream()), 0
    while True:
        try:
            async with asyncio.timeout(ABSENT):
                block = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            text = f"Nothing has come for {ABSENT:.0f} seconds; send it again."
            raise HTTPException(408, text, {"Connection": "close"}) from error
        received += len(block)
        if received > most + FORM:
            raise too_much
        yield block
