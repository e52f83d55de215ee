"""How many documents an address may open, and have open.

Each costs the one process that serves them most of a second to make, and a megabyte or two for as long as it is there.
A WebSocket makes one anew where its document is unknown, as after a restart or in another replica.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from bokeh.server.session import ServerSession
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher
from tornado.web import RequestHandler

from pipeline.quotas import from_address
from ui.settings import PageSettings
from ui.tokens import SOCKET, named_by

MINUTE: Final = 60.0  # s
MAKES: Final = re.compile(r"/?|/autoload.js|/ws")  # what makes a document, as Bokeh writes it


class OneTooMany(Matcher):
    """Matches what would open a document more than its address may. `documents`: those that are open."""

    def __init__(self, settings: PageSettings, documents: Callable[[], Iterable[ServerSession]]) -> None:
        self._settings = settings
        self._documents = documents
        self._opened: deque[tuple[float, str]] = deque()  # within the last minute: when, in monotonic seconds, for whom

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Whether it does; if not, it counts."""
        if not MAKES.fullmatch(request.path) or (request.path == SOCKET and self._knows(request)):
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


class Refusal(RequestHandler):
    """Says why something is refused, and what to do, whatever is asked for."""

    def initialize(self, status: int, sentence: str) -> None:
        """`status`: where it is 429, a minute later it may be another one."""
        self._status, self._sentence = status, sentence

    def prepare(self) -> None:
        """Whatever is asked for."""
        self.set_status(self._status)
        if self._status == 429:
            self.set_header("Retry-After", "60")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self._sentence)


def too_many(settings: PageSettings) -> str:
    """What is said of how many there may be."""
    return (
        f"Your address has opened as many pages as it may: {settings.pages_per_minute} in a minute, and"
        f" {settings.pages_per_caller} at once. Close some, or try again in a minute."
    )


def _address_of(document: ServerSession) -> str:
    context = document.document.session_context
    return getattr(getattr(context, "request", None), "remote_ip", None) or ""
