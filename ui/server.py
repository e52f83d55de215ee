"""Serves the page: `python -m ui.server`, configured by `TONETRACK_*`, stopped by SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bokeh.application import Application
from bokeh.application.handlers import DirectoryHandler
from bokeh.server.server import Server
from bokeh.server.views.ws import WSHandler
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.routing import Matcher, Rule
from tornado.web import ErrorHandler, OutputTransform, RequestHandler, StaticFileHandler

from pipeline.headers import of_page
from pipeline.logs import speak
from ui.crowd import OneTooMany, Refusal, too_many
from ui.feed import hub
from ui.line import MOST_BYTES, Line
from ui.settings import PageSettings
from ui.tokens import CHOSEN, SOCKET, Chosen, Nameless

FOLDER = Path(__file__).parent
HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+)(:\d+)?")
LINGER_MS = 5_000  # a document whose browser has gone is kept this long


class _Application(Application):
    """The directory app, without its static folder: at `/` that would hide Bokeh's own `/static`, where BokehJS is."""

    @property
    def static_path(self) -> None:
        return None

    def process_request(self, request: HTTPServerRequest) -> dict[str, Any]:
        """What a token holds besides the document's id: nothing of the request, or it would grow as long as that."""
        return {"arguments": {}}


class _Health(RequestHandler):
    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.write("ok")


class _Asset(StaticFileHandler):
    def set_extra_headers(self, path: str) -> None:
        # Ask each time (a cheap 304), so that an updated page never runs with yesterday's scripts.
        self.set_header("Cache-Control", "no-cache")


def content_security_policy(settings: PageSettings, host: str) -> str:
    """What the page that was asked for at a host (`NAME:PORT`) may load and run: its own files, and the API.

    Scripts are files of ours and of BokehJS; none is inline, and none is made of text: BokehJS needs 'unsafe-eval' for
    `CustomJS` and its like alone, in whose place there is `static/functions.js`. Styles it does write into the page.
    What is allowed as http or ws is allowed over TLS, too.
    """
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    api = settings.api_origin(name)
    sockets = f"ws://{host} {api.replace('http', 'ws', 1)}"  # which not every browser takes for 'self'
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src blob:",
            f"connect-src 'self' {api} {sockets}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def secured(settings: PageSettings) -> type[OutputTransform]:
    """Gives every answer the headers that `pipeline.headers` tells of."""

    class Secured(OutputTransform):
        def __init__(self, request: HTTPServerRequest) -> None:
            host = request.host if HOST.fullmatch(request.host) else "invalid"
            self._headers = of_page(content_security_policy(settings, host))
            if request.path in ("", "/"):
                self._headers["Cache-Control"] = "no-store"  # each page has a document of its own

        def transform_first_chunk(
            self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
        ) -> tuple[int, HTTPHeaders, bytes]:
            for name, value in self._headers.items():
                headers[name] = value
            return status_code, headers, chunk

    return Secured


def websocket_origins(settings: PageSettings) -> list[str]:
    """Pages that may open the document's WebSocket: this one, by every name that it may be reached under."""
    if settings.host in ("127.0.0.1", "localhost"):
        return [f"{name}:{settings.ui_port}" for name in ("127.0.0.1", "localhost")]
    return ["*"]  # behind an address for everyone the name is not known beforehand: see `_FromElsewhere`


class _FromElsewhere(Matcher):
    """The document's WebSocket, asked for by a page of another host than this one was asked for."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        origin = request.headers.get("Origin")
        if origin is None or not request.path.endswith(SOCKET):
            return None
        try:
            page = urlsplit(origin).netloc
        except ValueError:
            page = ""
        return None if page.lower() == request.host.lower() else {}


def serve(settings: PageSettings) -> Server:
    """The server, listening. Must be called inside the event loop that is to run it."""
    server = Server(
        {"/": _Application(DirectoryHandler(filename=FOLDER))},
        io_loop=IOLoop.current(),
        address=settings.host,
        port=settings.ui_port,
        allow_websocket_origin=websocket_origins(settings),
        extra_patterns=[
            (r"/healthz", _Health),
            (r"/assets/(.*)", _Asset, {"path": str(FOLDER / "static")}),
        ],
        use_index=False,
        unused_session_lifetime_milliseconds=LINGER_MS,
        check_unused_sessions_milliseconds=LINGER_MS,
        use_xheaders="FORWARDED_ALLOW_IPS" in os.environ,  # a proxy before this one, as the API's server believes it
        include_headers=[],  # none are needed, and the document's token would carry them
        include_cookies=[],
        websocket_max_message_size=MOST_BYTES,
        # Nothing here takes a body; the buffer has room for the largest message and for what is read along with it.
        http_server_kwargs={"max_body_size": 0, "max_buffer_size": 4 * MOST_BYTES},
    )
    server._tornado.add_transform(secured(settings))
    # Before all others, for any host. A file system takes no NUL, and Tornado's own handler of files answers 500.
    server._tornado.add_handlers(r".+", [(r".*%00.*", ErrorHandler, {"status_code": 404})])
    for rule in server._tornado.wildcard_router.rules:
        if rule.target is WSHandler:
            rule.target = Line
    crowd = OneTooMany(settings, lambda: server.get_sessions("/"))
    server._tornado.default_router.rules[:0] = [
        Rule(_FromElsewhere(), ErrorHandler, {"status_code": 403}),
        Rule(Chosen(), Refusal, {"status": 403, "sentence": CHOSEN}),
        Rule(Nameless(), ErrorHandler, {"status_code": 400}),
        Rule(crowd, Refusal, {"status": 429, "sentence": too_many(settings)}),
    ]
    return server


async def run(settings: PageSettings) -> None:
    """Serve until a signal asks to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = serve(settings)
    server.start()
    try:
        await stop.wait()
    finally:
        server.stop()
        await hub().close()


def main() -> None:
    """The command line's entry."""
    settings = PageSettings()
    speak("page", settings.log_format, "WARNING")
    # It warns of each message for a browser that has just left; such a document is dropped seconds later.
    logging.getLogger("bokeh.server.views.ws").setLevel(logging.ERROR)
    asyncio.run(run(settings))


if __name__ == "__main__":
    main()
