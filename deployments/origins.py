"""Which pages may use the API: the service's own, under the host that was asked for, and those that are allowed."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.metrics import REFUSED_REQUESTS
from deployments.settings import Settings

METHODS: Final = ("GET", "POST", "PATCH", "DELETE")
EXPOSED: Final = ("Content-Disposition", "Idempotent-Replayed", "Location", "Retry-After")
HEADERS: Final = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-API-Key")


LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
READING: Final = ("GET", "HEAD", "OPTIONS")
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
FOREIGN: Final = "Pages from this origin may not ask for this; see TONETRACK_ALLOWED_ORIGINS."


def welcome(headers: Headers, settings: Settings) -> bool:
    """Whether a request's page may ask for this. Programs send no origin, and need no leave.

    The service's own pages are those on its page's port, and on the port that was asked for, as behind a proxy that
    serves both. A service that listens on the loopback goes by no other name: a page's own name may be made to lead
    there.
    """
    origin = headers.get("origin")
    if origin is None or origin in settings.allowed_origins:
        return True
    try:
        page = urlsplit(origin)
        host = urlsplit(f"{page.scheme}://{headers.get('host', '')}")
        own_port = _port(page) in (_port(host), settings.ui_port)
    except ValueError:  # no address at all
        return False
    loopback = settings.host not in LOOPBACK or host.hostname in LOOPBACK
    return page.hostname is not None and page.hostname == host.hostname and own_port and loopback


def _port(address: SplitResult) -> int | None:
    return address.port or DEFAULT_PORTS.get(address.scheme)


class SameHost:
    """Lets browsers show answers to pages that are welcome (CORS), and lets no others change anything.

    A form or a file goes to another host without asking it first, and does its work there whoever sees the answer.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; which origins are allowed depends on the host that it asks for."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None:
            return await self._app(scope, receive, send)
        wanted = welcome(headers, self._settings)
        if not wanted and scope["method"] not in READING:
            REFUSED_REQUESTS.inc(1, {"reason": "origin"})
            return await JSONResponse({"detail": FOREIGN}, 403)(scope, receive, send)
        asked = [origin] if wanted else []
        shared = CORSMiddleware(
            self._app, allow_origins=asked, allow_methods=METHODS, allow_headers=HEADERS, expose_headers=EXPOSED
        )
        return await shared(scope, receive, send)
