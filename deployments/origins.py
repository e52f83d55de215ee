"""Which pages may use the API: those of the host that was asked for, on whatever port, and those that are allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS: Final = ("GET", "POST", "PATCH", "DELETE")
EXPOSED: Final = ("Content-Disposition", "Idempotent-Replayed", "Location", "Retry-After")
HEADERS: Final = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-API-Key")


def welcome(headers: Headers, allowed: Sequence[str]) -> bool:
    """Whether a request's page may ask for this. Programs send no origin, and need no leave."""
    origin = headers.get("origin")
    if origin is None or origin in allowed:
        return True
    try:
        page, host = urlsplit(origin).hostname, urlsplit(f"//{headers.get('host', '')}").hostname
    except ValueError:  # no address at all
        return False
    return page is not None and page == host


class SameHost:
    """Lets browsers show answers to pages that are welcome, and to no others (CORS)."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; which origins are allowed depends on the host that it asks for."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None:
            return await self._app(scope, receive, send)
        asked = [origin] if welcome(headers, self._allowed) else []
        shared = CORSMiddleware(
            self._app, allow_origins=asked, allow_methods=METHODS, allow_headers=HEADERS, expose_headers=EXPOSED
        )
        return await shared(scope, receive, send)
