"""How much a request may say: JSON is read whole before it is understood, so its length is bounded first.

What is longer, recordings and voices, is read as it arrives, no further than it may go and no longer than it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.jobs import ABSENT

FORM: Final = 2**20  # bytes that a form may have besides its file
LONGEST_BODY: Final = 65_536  # bytes; a session with all its voices takes 3,000
FILES: Final = ("/v1/recordings", "/v1/voices")  # whose uploads count for themselves, as they arrive


class ShortBodies:
    """An application none of whose requests but uploads may be longer than `LONGEST_BODY`: they are answered 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's."""
        bounded = scope["type"] == "http" and scope["path"] not in FILES
        await self._app(scope, _counted(receive) if bounded else receive, send)


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


def _counted(receive: Receive) -> Receive:
    """The same messages. Raises `HTTPException` once they are too many; whoever reads a body lets it pass."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > LONGEST_BODY:
            text = f"A request has {LONGEST_BODY // 1_024} KiB at most; only recordings and voices may be longer."
            raise HTTPException(
                413, text
            )  # the line stays: closed under who still sends, it would take the answer along
        return message

    return counted
