"""Whose document a page is, and what a browser may do to the one process that serves them all."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id, get_session_id, get_token_payload
from playwright.sync_api import BrowserContext, WebSocket, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.browser import wait
from tests.ui.stage import Backend
from tests.ui.test_crowd import opened
from ui.line import MOST_BYTES, MOST_LINES
from ui.tokens import LONGEST

NOTHING: dict[str, Any] = {}


@contextmanager
def lined(url: str, token: str) -> Iterator[ClientConnection]:
    """A WebSocket to a document."""
    protocols = [Subprotocol("bokeh"), Subprotocol(token)]
    with connect(f"{url.replace('http', 'ws')}/ws", subprotocols=protocols, origin=url, max_size=None) as line:
        yield line


@contextmanager
def acknowledged(url: str, token: str) -> Iterator[ClientConnection]:
    """The same, which may be talked over."""
    with lined(url, token) as line:
        assert answered(line)[0] == "ACK"
        yield line


def say(line: ClientConnection, kind: str, content: object, **header: object) -> None:
    for part in ({"msgid": "1", "msgtype": kind, **header}, NOTHING, content):
        line.send(json.dumps(part))


def answered(line: ClientConnection) -> tuple[str, Any]:
    """The next message that is no patch of the document: its type and content."""
    while True:
        header, _, content = (json.loads(line.recv(10)) for _ in range(3))
        for _ in range(2 * header.get("num_buffers", 0)):
            line.recv(10)
        if header["msgtype"] != "PATCH-DOC":
            return header["msgtype"], content


def hung_up(line: ClientConnection) -> tuple[int, str]:
    """The code and the reason with which a line was closed."""
    try:
        while True:
            line.recv(10)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return closed.rcvd.code, closed.rcvd.reason


def models(content: object) -> Iterator[dict[str, Any]]:
    """All models of a document that was pulled."""
    if isinstance(content, dict):
        if content.get("type") == "object" and "id" in content:
            yield content
        for value in content.values():
            yield from models(value)
    elif isinstance(content, list):
        for value in content:
            yield from models(value)


@pytest.fixture
def line(page_url: str) -> Iterator[ClientConnection]:
    with acknowledged(page_url, generate_jwt_token(generate_session_id())) as line:
        yield line


@pytest.fixture
def ids(line: ClientConnection) -> dict[str, str]:
    """Those of some models of the document, which is pulled for it."""
    say(line, "PULL-DOC-REQ", {})
    kind, content = answered(line)
    assert kind == "PULL-DOC-REPLY"
    found = {model["attributes"]["name"]: model for model in models(content) if "name" in model.get("attributes", {})}
    ribbons = found["ribbons"]
    return {
        "bridge": found["bridge"]["id"],
        "time": found["time"]["id"],
        "ribbons": ribbons["id"],
        "heights": ribbons["attributes"]["y_range"]["id"],
        "bars": ribbons["attributes"]["renderers"][0]["attributes"]["data_source"]["id"],
    }


def written(model: str, attr: str, new: object) -> dict[str, object]:
    return {"events": [{"kind": "ModelChanged", "model": {"id": model}, "attr": attr, "new": new}]}


@pytest.mark.parametrize("path", ["", "autoload.js", "autoload-js", "metadata"])
def test_nobody_is_led_to_a_document_of_anybodys_choosing(page_url: str, path: str) -> None:
    """By a link with an id in it whoever had made it shared the document of whoever followed it, and their key."""
    url, token = f"{page_url}/{path}", generate_jwt_token(generate_session_id())
    chosen = [
        httpx.get(url, params={"bokeh-session-id": "mine", "bokeh-autoload-element": "x"}),
        httpx.get(f"{url}?session=s&bokeh-session-id="),
        httpx.get(url, params={"bokeh-token": token}),
        httpx.get(url, headers={"Bokeh-Session-Id": "mine"}),
    ]
    for answer in chosen:
        assert answer.status_code == 403
        assert answer.text.startswith("This address names a document, which nobody may choose.")
        assert "frame-ancestors" in answer.headers["Content-Security-Policy"]


def test_each_page_has_a_document_of_its_own_and_nothing_of_its_address_is_in_the_token(page_url: str) -> None:
    answers = [httpx.get(page_url, params={"session": "s", "x": "y" * 5_000}) for _ in range(2)]
    tokens = [re.findall(r'"token": *"([^"]+)"', answer.text)[0] for answer in answers]
    assert get_session_id(tokens[0]) != get_session_id(tokens[1])
    assert not any(value for name, value in get_token_payload(tokens[0]).items() if name != "session_expiry")
    assert [answer.headers["Cache-Control"] for answer in answers] == ["no-store"] * 2
    assert opened(f"{page_url}/", tokens[0]) == 101


def test_a_token_is_not_unpacked_where_it_is_long_or_holds_what_no_page_puts_there(page_url: str) -> None:
    """One of 52 kB unpacked to 119 MB."""
    nested = base64.urlsafe_b64encode(zlib.compress(b" " * 20_000_000 + b"{}")).decode()
    bomb = base64.urlsafe_b64encode(
        json.dumps({"session_id": "x", "session_expiry": 2**33, "__bk__zlib_": nested}).encode()
    ).decode()
    assert len(bomb) > LONGEST
    assert opened(f"{page_url}/", bomb.rstrip("=")) == 400
    assert opened(f"{page_url}/", generate_jwt_token("x", extra_payload={"headers": 5})) == 400  # type: ignore[arg-type]


@pytest.mark.parametrize("named", [5, [], {}, "", None])
def test_a_document_goes_by_a_text(page_url: str, named: object) -> None:
    assert opened(f"{page_url}/", generate_jwt_token(named)) == 400  # type: ignore[arg-type]


def test_what_the_page_sends_is_taken(line: ClientConnection, ids: dict[str, str]) -> None:
    sent = [
        written(ids["bridge"], "command", '{"n": 1, "ask": "leave"}'),
        written(ids["time"], "start", 1),
        written(ids["time"], "end", 90.5),
        written(ids["ribbons"], "inner_width", 640),
        {"events": [happened("document_ready", {"type": "map"})]},
        {"events": [happened("tap", {"type": "map", "entries": tap(ids["ribbons"])})]},
    ]
    for patch in sent:
        say(line, "PATCH-DOC", patch)
        assert answered(line) == ("OK", {})


def happened(name: str, values: dict[str, Any]) -> dict[str, Any]:
    event = {"type": "event", "name": name, "values": values}
    return {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}


def tap(model: str) -> list[list[Any]]:
    held = {"type": "map", "entries": [["shift", False], ["ctrl", False], ["alt", False]]}
    return [["model", {"id": model}], ["sx", 4], ["sy", 5], ["x", 1.5], ["y", 0.2], ["modifiers", held]]


def misfits(ids: dict[str, str]) -> dict[str, tuple[str, object]]:
    placed = {"type": "map", "entries": [["x", {"type": "object", "name": "Range1d", "id": "new"}]]}
    made = {"type": "object", "name": "Range1d", "id": "new"}
    return {
        "what the server tells": ("PATCH-DOC", written(ids["bridge"], "people", "[]")),
        "another type": ("PATCH-DOC", written(ids["bridge"], "command", 5)),
        "another range": ("PATCH-DOC", written(ids["heights"], "start", -1_000)),
        "not a number": ("PATCH-DOC", written(ids["time"], "start", float("nan"))),
        "what is drawn": ("PATCH-DOC", written(ids["bars"], "data", {"type": "map", "entries": []})),
        "a plot's own": ("PATCH-DOC", written(ids["ribbons"], "height", 100_000)),
        "a new model": ("PATCH-DOC", written(ids["ribbons"], "x_range", made)),
        "no model": ("PATCH-DOC", written("made-up", "start", 1)),
        "a title": ("PATCH-DOC", {"events": [{"kind": "TitleChanged", "title": "mine"}]}),
        "another event": ("PATCH-DOC", {"events": [happened("button_click", {"type": "map"})]}),
        "an event with a model": (
            "PATCH-DOC",
            {"events": [happened("tap", placed)]},
        ),
        "no patch": ("PATCH-DOC", []),
        "another document": ("PUSH-DOC", {"doc": {}}),
        "a question": ("SERVER-INFO-REQ", {}),
        "the document again": ("PULL-DOC-REQ", {}),
        "no kind": ("DANCE", {}),
    }


@pytest.mark.parametrize("what", misfits({name: "" for name in ("bridge", "time", "ribbons", "heights", "bars")}))
def test_whoever_sends_what_the_page_does_not_is_hung_up_on(
    line: ClientConnection, ids: dict[str, str], what: str
) -> None:
    """A browser could write whatever it liked into its document, and have the one process draw it."""
    say(line, *misfits(ids)[what])
    assert hung_up(line) == (1008, "This is not what the page sends.")


def test_messages_are_small_and_no_buffers_come_with_them(page_url: str) -> None:
    token = generate_jwt_token(generate_session_id())
    with acknowledged(page_url, token) as line:
        line.send("x" * (MOST_BYTES + 1))
        assert hung_up(line)[0] == 1009
    with acknowledged(page_url, token) as line:
        say(line, "PATCH-DOC", {"events": []}, num_buffers=1_000_000)
        line.send(json.dumps({"id": "1"}))
        line.send(bytes(MOST_BYTES))
        assert hung_up(line)[0] == 1008
    with acknowledged(page_url, token) as line:
        line.send("5")
        line.send("5")
        line.send("5")
        assert hung_up(line)[0] == 1008


def test_a_document_has_so_many_lines(page_url: str) -> None:
    token = generate_jwt_token(generate_session_id())
    with ExitStack() as lines:
        for _ in range(MOST_LINES):
            last = lines.enter_context(acknowledged(page_url, token))
        with lined(page_url, token) as another:
            assert hung_up(another) == (1013, "This page has as many lines as it may have.")
        last.close()
        lines.enter_context(acknowledged(page_url, token))


def test_no_request_has_a_body(page_url: str) -> None:
    """One of 100 MB was read into the memory of the one process before it was refused."""
    assert refused("POST", page_url, b"x", {})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert refused("GET", page_url, (b"bokeh-session-id=mine" for _ in range(1)), form)


def refused(method: str, page_url: str, content: bytes | Iterator[bytes], headers: dict[str, str]) -> bool:
    """Whether a request is: a body that nobody reads resets the line, at times before the answer was read."""
    try:
        return httpx.request(method, f"{page_url}/", content=content, headers=headers).status_code == 400
    except (httpx.ReadError, httpx.WriteError):
        return True


@pytest.mark.slow
def test_a_page_is_not_hung_up_on_whatever_one_does_to_its_plots(
    context: BrowserContext, backend: Backend, page_url: str
) -> None:
    session = backend.held(30)
    page = context.new_page()
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    page.goto(f"{page_url}/?session={session.id}#{session.viewer_key}")
    wait(page, "d.state === 'ended' && d.speakers >= 1")
    for width in (1_280, 700):
        page.set_viewport_size({"width": width, "height": 900})
        for name in ("moods", "probabilities", "ribbons"):
            plot = page.locator(f"[data-plot={name}]")
            plot.scroll_into_view_if_needed()
            box = plot.bounding_box()
            assert box
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            page.mouse.dblclick(x, y)
            page.mouse.down()
            page.mouse.move(x - 50, y, steps=4)
            page.mouse.up()
            page.keyboard.down("Control")
            page.mouse.wheel(0, -50)
            page.keyboard.up("Control")
        expect(page.locator("#view")).to_be_visible()
        page.get_by_role("button", name="All", exact=True).click()
        expect(page.locator("#view")).to_be_hidden()
    assert [socket.is_closed() for socket in sockets] == [False]
