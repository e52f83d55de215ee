"""What the page says before anybody is recorded, what of it is kept, and who is told who looked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import redis
from playwright.sync_api import BrowserContext, Page, Route, expect
from pydantic import SecretStr

from pipeline.consent import CURRENT
from pipeline.session import NewSession
from tests.browser import declare, wait
from tests.service import free_port
from tests.ui.stage import Backend, running_page
from ui.settings import PageSettings

pytestmark = pytest.mark.timeout(120)
CORS = {"access-control-allow-origin": "*", "access-control-allow-headers": "*", "access-control-allow-methods": "*"}


def offered(page: Page) -> list[str]:
    values = page.locator("#purpose option").evaluate_all("options => options.map(({value}) => value)")
    return [value for value in values if value]


def created(page: Page) -> str:
    """Record until there is a session; its id."""
    page.get_by_role("button", name="Record", exact=True).click()
    wait(page, "d.recorder === 'recording'")
    return page.url.split("session=")[1].split("#")[0]


def test_what_is_declared_is_what_is_kept(context: BrowserContext, backend: Backend, page_url: str) -> None:
    page = context.new_page()
    page.goto(page_url)
    wait(page, "d.state === 'ready'")
    assert offered(page) == ["personal", "therapy", "safety", "research", "other"]
    expect(page.locator("#setup")).to_contain_text("Not offered here: education and work. In the European Union")
    expect(page.locator("#setup")).to_contain_text(CURRENT.statement)
    expect(page.locator("#setup")).to_contain_text(CURRENT.fate)
    boxes = page.locator("#setup, #setup > *").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert max(boxes[1:]) <= boxes[0], "a long purpose made the form wider than its card"
    page.get_by_label("Purpose of the recording").select_option("other")
    page.get_by_label("Everyone who will be heard has agreed").check()
    expect(page.get_by_text("First tell in the remark what the purpose is.")).to_be_visible()
    expect(page.locator("#record")).to_be_disabled()
    page.get_by_label("Remark on the purpose").fill("a <b>play</b>")
    record = backend.record(created(page))
    assert (record.purpose, record.remark) == ("other", "a <b>play</b>")
    assert record.consent is not None
    assert record.consent.version == CURRENT.version
    told = re.compile(f"Other: a <b>play</b> · everyone agreed at .* \\(wording {re.escape(CURRENT.version)}\\)")
    expect(page.locator("#facts-text")).to_contain_text(told)


def test_an_operator_says_what_the_page_offers(
    context: BrowserContext, backend: Backend, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONETRACK_REFUSED_PURPOSES", '["research"]')
    settings = PageSettings(redis_url=SecretStr(redis_url), ui_port=free_port(), port=backend.port)
    page = context.new_page()
    with running_page(settings) as url:
        page.goto(url)
        wait(page, "d.state === 'ready'")
        assert {"education", "work"} <= set(offered(page))
        assert "research" not in offered(page)
        expect(page.locator("#setup")).to_contain_text("Not offered here: research.")
        # As a page would ask that was opened before the operator changed their mind.
        page.evaluate("document.querySelector('#purpose option:nth-child(2)').value = 'research'")
        declare(page)
        backend.refusal = 422, {"detail": "The purpose “research” is refused here."}
        page.get_by_role("button", name="Record", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("The purpose “research” is refused here.")


def looks_of(redis_url: str, session: str) -> list[tuple[str, str]]:
    with redis.Redis.from_url(redis_url) as client:
        looks = [json.loads(entry) for entry in client.lrange(f"tonetrack:{{{session}}}:looks", 0, -1)]
    return [(look["who"], look["what"]) for look in looks]


def opened(context: BrowserContext, url: str, held: NewSession, recorder: bool) -> Page:
    page = context.new_page()
    if recorder:
        page.goto(url)
        keep = "([id, key]) => sessionStorage.setItem(`tonetrack:${id}`, JSON.stringify({recorderKey: key}))"
        page.evaluate(keep, [held.id, held.recorder_key])
    page.goto(f"{url}/?session={held.id}#{held.viewer_key}")
    wait(page, f"d.state === 'ended' && d.role === '{'recorder' if recorder else 'viewer'}'")
    return page


def test_who_looked_is_told_to_whoever_recorded(
    context: BrowserContext, backend: Backend, redis_url: str, page_url: str
) -> None:
    held = backend.held(10)
    asked: list[tuple[str, str | None]] = []

    def answer(route: Route) -> None:
        looks: list[dict[str, Any]] = [{"who": "viewer", "what": "report", "since": 1.0, "until": 2.0}]
        if "/looks" not in route.request.url:
            route.fulfill(status=404, json={"detail": "There is no such recording."}, headers=CORS)
        elif route.request.method == "OPTIONS":
            route.fulfill(status=204, headers=CORS)
        else:
            asked.append((route.request.url.split("/v1/")[1], route.request.headers.get("authorization")))
            route.fulfill(json={"looks": looks}, headers=CORS)

    viewer = opened(context, page_url, held, recorder=False)
    viewer.reload()
    wait(viewer, "d.state === 'ended'")
    expect(viewer.locator("#looks")).to_be_hidden()
    assert looks_of(redis_url, held.id) == [("viewer", "page")], "a page that is opened again is one look"
    with viewer.expect_download():
        viewer.get_by_role("button", name="Download JSON").click()
    page = opened(context, page_url, held, recorder=True)
    assert set(looks_of(redis_url, held.id)) == {("viewer", "page"), ("viewer", "export"), ("recorder", "page")}
    page.route(f"**:{backend.port}/**", answer)
    expect(page.locator("#looks-list")).to_be_hidden()
    assert not asked, "it is asked for when somebody wants to see it"
    page.get_by_text("Who looked").click()
    expect(page.locator("#looks-list")).to_contain_text("Viewer link: the report")
    expect(page.locator("#looks-told")).to_contain_text("no addresses are kept")
    assert asked == [(f"sessions/{held.id}/looks", f"Bearer {held.recorder_key}")]
