"""How much a request may say: JSON is read whole before it is understood, so its length is bounded first."""

from __future__ import annotations

from typing import Final

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
