"""Whatever people are called, the page shows it as text, in a real browser, and runs none of it."""

from __future__ import annotations

import http.client

import pytest
from playwright.sync_api import BrowserContext, expect

from pipeline.events import SpeakerNamed, WordsHeard
from pipeline.timeline import Word
from tests.browser import wait
from tests.ui.stage import Backend

pytestmark = pytest.mark.timeout(120)
NAMES = (
    "<script>document.title='evil'</script>",
    "<img src=x onerror=\"document.title='evil'\">",
    "<b onmouseover=alert(1)>{{7*7}}</b> \\(x\\)",
)
SMUGGLED = "<svg onload=alert(1)>\x1b[31m\u202eevil\x00"  # which the service refuses, and a store may hold all the same
PATHS = (
    "/../settings.py",
    "/%2e%2e/settings.py",
    "/..%2f..%2fpyproject.toml",
    "/%2e%2e%5csettings.py",
    "//etc/passwd",
    "/js/../../../../../../etc/passwd",
    "/page.js%00.css",
    "/%00",
    "/..%c0%af..%c0%afetc/passwd",
)


def test_names_are_shown_and_nothing_of_them_runs(context: BrowserContext, backend: Backend, page_url: str) -> None:
    words = [Word(start=1.5, end=2, text=SMUGGLED, speaker=2), Word(start=2, end=2.5, text=NAMES[1], speaker=2)]
    named = [SpeakerNamed(speaker=number, name=name) for number, name in enumerate(NAMES, 1)]
    session = backend.held(30, *named, WordsHeard(since=0, until=3, words=tuple(words)))
    page = context.new_page()
    happened: list[str] = []
    page.on("dialog", lambda dialog: (happened.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: happened.append(str(error)))
    page.on("request", lambda request: happened.append(request.url) if request.url.endswith("/x") else None)
    page.goto(f"{page_url}/?session={session.id}#{session.viewer_key}")
    wait(page, "d.role === 'viewer' && d.state === 'ended' && d.speakers >= 2")
    for name in NAMES[:2]:
        expect(page.locator(".who").filter(has_text=name)).to_have_count(1)
    expect(page.locator("#said")).to_contain_text(NAMES[1])
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#turn")).to_contain_text(", 0:01 to")
    page.locator(".who").first.hover()
    inside = page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => e.onerror || e.onload || e.hasAttribute('onerror')"
        " || e.hasAttribute('onload') || e.hasAttribute('onmouseover')).map(e => e.outerHTML)"
    )
    assert inside == []
    assert not happened
    assert "evil" not in page.title()


def test_paths_lead_out_of_no_folder(page_url: str) -> None:
    host = page_url.removeprefix("http://")
    for path in [folder + path for path in PATHS for folder in ("/static", "/assets", "")]:
        line = http.client.HTTPConnection(host, timeout=10)
        line.putrequest("GET", path, skip_accept_encoding=True)
        line.endheaders()
        answer = line.getresponse()
        body = answer.read()
        assert 400 <= answer.status < 500, (path, answer.status)
        assert b"root:" not in body
        assert b"BaseSettings" not in body
        line.close()
