"""Who may begin, and who may go on looking, in a real browser."""

from __future__ import annotations

import base64
import json

import httpx
import pytest
import redis
from bokeh.util.token import generate_jwt_token
from playwright.sync_api import BrowserContext, Page, expect
from pydantic import SecretStr

from tests.browser import declare, wait
from tests.service import free_port
from tests.ui.stage import Backend, running_page
from ui.settings import PageSettings

pytestmark = pytest.mark.timeout(120)
KEY = "tt_0123456789ab_secret"
NO_KEY = {"detail": "Send an API key for this.", "code": "api_key"}


def begin(page: Page) -> None:
    page.get_by_role("button", name="Record", exact=True).click()


def test_the_page_asks_for_an_api_key_and_keeps_it_for_the_tab(
    context: BrowserContext, backend: Backend, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONETRACK_REQUIRE_API_KEYS", "true")
    settings = PageSettings(redis_url=SecretStr(redis_url), ui_port=free_port(), port=backend.port)
    with running_page(settings) as url:
        page = context.new_page()
        page.goto(url)
        wait(page, "d.state === 'ready'")
        declare(page)
        expect(page.locator("#record")).to_be_disabled()
        expect(page.get_by_text("First enter the API key that this server asks for.")).to_be_visible()
        page.get_by_label("API key").fill(f" {KEY} ")
        backend.refusal = 403, {"detail": "There is no such API key.", "code": "api_key"}
        begin(page)
        expect(page.get_by_role("alert")).to_have_text("There is no such API key.")
        expect(page.get_by_label("API key")).to_be_focused()
        backend.refusal = None
        page.reload()
        wait(page, "d.state === 'ready'")
        expect(page.get_by_label("API key")).to_have_value(KEY)
        declare(page)
        begin(page)
        wait(page, "d.recorder === 'recording'")
        assert [request.headers["x-api-key"] for request in backend.asked] == [KEY, KEY]
        assert not any(KEY in request.url for request in backend.asked)
        assert KEY not in page.url
        assert KEY not in page.evaluate("JSON.stringify(localStorage)")
        other = context.new_page()
        other.goto(url)
        expect(other.get_by_label("API key")).to_have_value("")


def test_a_server_that_wants_a_key_after_all_is_given_one(
    context: BrowserContext, backend: Backend, page_url: str
) -> None:
    page = context.new_page()
    page.goto(page_url)
    wait(page, "d.state === 'ready'")
    expect(page.get_by_label("API key")).to_be_hidden()
    declare(page)
    backend.refusal = 401, NO_KEY
    begin(page)
    expect(page.get_by_role("alert")).to_have_text("Send an API key for this.")
    page.get_by_label("API key").fill(KEY)
    backend.refusal = None
    begin(page)
    wait(page, "d.recorder === 'recording'")
    assert [request.headers.get("x-api-key") for request in backend.asked] == [None, KEY]


@pytest.mark.slow
def test_who_tries_too_many_links_is_told_to_wait(
    context: BrowserContext, backend: Backend, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONETRACK_WRONG_KEYS_PER_MINUTE", "2")
    session = backend.held(5)
    settings = PageSettings(redis_url=SecretStr(redis_url), ui_port=free_port(), port=backend.port)
    with running_page(settings) as url, redis.Redis.from_url(redis_url) as store:
        for _ in range(2):
            page = context.new_page()
            page.goto(f"{url}/?session={session.id}#guess")
            wait(page, "d.state === 'denied'")
        page = context.new_page()
        page.goto(f"{url}/?session={session.id}#{session.viewer_key}")
        expect(page.get_by_role("alert")).to_contain_text("Too many wrong keys have come from this address.")
        (counted,) = store.scan_iter("tonetrack:quota:*")
        assert counted == b"tonetrack:quota:wrong-keys:address:127.0.0.1"
        store.delete(counted)  # a minute later
        wait(page, "d.role === 'viewer'")


@pytest.mark.slow
def test_with_a_new_viewer_link_the_old_one_shows_nothing_any_more(
    context: BrowserContext, backend: Backend, page_url: str
) -> None:
    session = backend.held(30)
    link = f"{page_url}/?session={session.id}"
    kept = json.dumps({"recorderKey": session.recorder_key, "codec": "pcm16"})
    recorder = context.new_page()
    recorder.add_init_script(f"sessionStorage.setItem('tonetrack:{session.id}', {json.dumps(kept)})")
    recorder.goto(f"{link}#{session.viewer_key}")
    wait(recorder, "d.role === 'recorder' && d.state === 'ended'")
    viewer = context.new_page()
    viewer.goto(f"{link}#{session.viewer_key}")
    wait(viewer, "d.role === 'viewer' && d.speakers >= 1")
    expect(viewer.get_by_role("button", name="New viewer link")).to_be_hidden()

    recorder.get_by_role("button", name="New viewer link").click()
    recorder.get_by_role("button", name="New link").click()
    recorder.wait_for_url(lambda url: "#" in url and session.viewer_key not in url)
    assert backend.asked[-1].headers["authorization"] == f"Bearer {session.recorder_key}"
    wait(viewer, "d.state === 'denied' && d.speakers === '0'", 30)
    expect(viewer.get_by_role("alert")).to_contain_text("This link's key does not fit the session.")
    assert viewer.evaluate("Bokeh.documents[0].get_model_by_name('bridge').people") == "[]"

    other = context.new_page()
    other.goto(recorder.url)
    wait(other, "d.role === 'viewer' && d.speakers >= 1")
    assert recorder.evaluate("document.documentElement.dataset.role") == "recorder"
    backend.renew_recorder_key(session.id)
    wait(recorder, "d.state === 'denied' && d.speakers === '0'", 30)
    expect(recorder.get_by_role("alert")).to_contain_text("It may have been replaced: ask for the link again")
    assert other.evaluate("document.documentElement.dataset.role") == "viewer"


def test_pages_of_other_hosts_open_no_document(redis_url: str) -> None:
    """Where the service listens for everyone, it goes by the name that it was asked for under."""
    port = free_port()
    settings = PageSettings(redis_url=SecretStr(redis_url), ui_port=port, port=free_port(), host="0.0.0.0")
    asking = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Protocol": f"bokeh, {generate_jwt_token('document')}",
    }
    with running_page(settings):

        def status(**header: str) -> int:
            return httpx.get(f"http://127.0.0.1:{port}/ws", headers=asking | header).status_code

        assert status(Origin=f"http://127.0.0.1:{port}") == status() == 101
        for foreign in ("https://evil.example", "http://127.0.0.1:1", "http://[", "null"):
            assert status(Origin=foreign) == 403
