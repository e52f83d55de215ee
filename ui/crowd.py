"""How many documents an address may open, and have open.

Each costs the one process that serves them most of a second to make, and a megabyte or two for as long as it is there.
A WebSocket makes one anew where its document is unknown, as after a restart or in another replica.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from bokeh.server.session import ServerSession
from bokeh.util.token import get_session_id
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher
from tornado.web import RequestHandler

from pipeline.quotas import from_address
from ui.settings import PageSettings

MINUTE: Final = 60.0  # s
MAKES: Final = {"/", "/autoload.js", "/ws"}  # what makes a document


class OneTooMany(Matcher):
    """Matches what would open a document more than its address may. `documents`: those that are open."""

    def __init__(self, settings: PageSettings, documents: Callable[[], Iterable[ServerSession]]) -> None:
        self._settings = settings
        self._documents = documents
        self._opened: deque[tuple[float, str]] = deque()  # within the last minute: when, in monotonic seconds, for whom

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Whether it does; if not, it counts."""
        if request.path not in MAKES or (request.path == "/ws" and self._knows(request)):
            return None
        now, caller = time.monotonic(), from_address(request.remote_ip or "")
        while self._opened and now - self._opened[0][0] > MINUTE:
            self._opened.popleft()
        lately = sum(whose == caller for _, whose in self._opened)
        there = sum(from_address(_address_of(document)) == caller for document in self._documents())
        if lately >= self._settings.pages_per_minute or there >= self._settings.pages_per_caller:
            return {}
        self._opened.append((now, caller))
        return None

    def _knows(self, request: HTTPServerRequest) -> bool:
        named = named_by(request)
        return any(named == document.id for document in self._documents())


class Nameless(Matcher):
    """Matches a WebSocket that names no document in a way that Bokeh understands, which would fail in it."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Whether it does."""
        return {} if request.path == "/ws" and named_by(request) is None else None


class Refusal(RequestHandler):
    """Says that there is one too many, and what to do."""

    def initialize(self, settings: PageSettings) -> None:
        """`settings`: what is said of how many there may be."""
        self._settings = settings

    def prepare(self) -> None:
        """Whatever is asked for."""
        self.set_status(429)
        self.set_header("Retry-After", "60")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(
            f"Your address has opened as many pages as it may: {self._settings.pages_per_minute} in a minute, and"
            f" {self._settings.pages_per_caller} at once. Close some, or try again in a minute."
        )


def named_by(request: HTTPServerRequest) -> str | None:
    """The id of the document that a WebSocket is for, by the token that it brings as its second subprotocol."""
    _, _, token = request.headers.get("Sec-WebSocket-Protocol", "").partition(",")
    try:
        return str(get_session_id(token.strip()))
    except Exception:  # which it says of bad Base64, bad JSON, and JSON of another shape
        return None


def _address_of(document: ServerSession) -> str:
    context = document.document.session_context
    return getattr(getattr(context, "request", None), "remote_ip", None) or ""
