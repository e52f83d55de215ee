"""How many pages an address may open: the page's own server, asked by two addresses of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from bokeh.util.token import generate_jwt_token
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.service import free_port
from tests.ui.stage import running_page
from ui.server import LINGER_MS
from ui.settings import PageSettings


@contextmanager
def served(redis_url: str, per_minute: int, at_once: int) -> Iterator[str]:
    settings = PageSettings(
        redis_url=SecretStr(redis_url), ui_port=free_port(), pages_per_minute=per_minute, pages_per_caller=at_once
    )
    with running_page(settings) as url:
        yield f"{url}/"


def asked(url: str, address: str) -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=20) as http:
        return http.get(url)


def opened(url: str, token: str) -> int:
    """The status with which the WebSocket of a document is answered; its page is of this machine."""
    protocols = [Subprotocol("bokeh"), Subprotocol(token)]
    try:
        with connect(url.replace("http", "ws") + "ws", subprotocols=protocols, origin=url.rstrip("/")) as line:
            line.recv(10)
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def test_an_address_opens_so_many_pages_a_minute_and_no_other_waits_for_it(redis_url: str) -> None:
    with served(redis_url, per_minute=2, at_once=100) as url:
        assert [asked(url, "127.0.0.1").status_code for _ in range(3)] == [200, 200, 429]
        refused = asked(url, "127.0.0.1")
        assert refused.headers["Retry-After"] == "60"
        assert "as many pages as it may: 2 in a minute, and 100 at once" in refused.text
        assert "frame-ancestors" in refused.headers["Content-Security-Policy"]
        assert opened(url, generate_jwt_token("made-up")) == 429, "a WebSocket makes a document of its own"
        assert asked(f"{url}healthz", "127.0.0.1").status_code == 200
        assert asked(url, "127.0.0.2").status_code == 200


@pytest.mark.slow
def test_an_address_has_so_many_pages_open_and_those_go_on(redis_url: str) -> None:
    with served(redis_url, per_minute=100, at_once=1) as url:
        token = generate_jwt_token("mine")
        assert opened(url, token) == 101
        assert asked(url, "127.0.0.1").status_code == 429
        assert opened(url, token) == 101, "its line has broken, and it comes back"
        deadline = time.monotonic() + 4 * LINGER_MS / 1_000
        while asked(url, "127.0.0.1").status_code == 429:
            assert time.monotonic() < deadline, "nobody has it open any more"
            time.sleep(0.2)


@pytest.mark.parametrize("token", ["nonsense", "bm9uc2Vuc2U", "W10", "MQ", "e30"])
def test_a_line_that_names_no_document_is_told_so(page_url: str, token: str) -> None:
    """It used to be accepted, and to fail in Bokeh, with a traceback in the log."""
    assert opened(f"{page_url}/", token) == 400


@pytest.mark.parametrize("path", ["", "autoload.js", "autoload-js"])
def test_whatever_makes_a_document_counts(redis_url: str, path: str) -> None:
    with served(redis_url, per_minute=1, at_once=100) as url:
        asked(url + path, "127.0.0.1")
        assert asked(url + path, "127.0.0.1").status_code == 429
