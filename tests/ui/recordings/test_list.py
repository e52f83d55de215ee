"""The second door in a real browser: the recordings of who has uploaded some."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import declare, until, wait
from tests.ui.recordings.service import SHELF, Service, job, remember, row, send
from tests.ui.stage import Backend

pytestmark = pytest.mark.timeout(120)


def test_a_key_that_nothing_is_under_any_more_is_forgotten(page: Page, service: Service) -> None:
    remember(page, key="old", viewers={"1" * 16: "x"})
    until(page, f"localStorage.getItem('{SHELF}') === null")
    expect(page.locator("#shelf")).to_be_hidden()
    service.posts = [(403, {"detail": "No recordings are under this key."}), (202, job("talk.wav", "queued"))]
    page.evaluate(f"localStorage.setItem('{SHELF}', JSON.stringify({{key: 'older', viewers: {{}}}}))")
    declare(page)
    send(page)
    wait(page, "d.recordings === '1'")
    assert [key for method, _, key in service.asked if method == "POST"] == ["older", None]


def test_the_list_says_how_each_stands_and_what_can_be_done(page: Page, service: Service) -> None:
    service.jobs = [
        job("waits", "queued", position=3),
        job("heard", "running", progress=0.437, step="who speaks", done=3_700.0, seconds=7_200.0),
        job("done", audio=True, keep_audio=True),
        job("broken", "failed", error="It was begun 3 times.", retryable=True),
        job("undecodable", "failed", error="It holds no sound."),
        job("stopped", "cancelled"),
    ]
    remember(page)
    wait(page, "d.recordings === '6'")
    expect(row(page, "waits")).to_contain_text("Waiting, as number 3")
    expect(row(page, "heard")).to_contain_text("Being heard, 43 %who speaks: 1:01:40 of 2:00:00")
    assert row(page, "heard").get_by_role("progressbar").evaluate("bar => bar.value") == pytest.approx(0.437)
    expect(row(page, "done")).to_contain_text("0:30 · sound kept · erased in 1 h")
    expect(row(page, "undecodable")).to_contain_text("Could not be heardIt holds no sound.")
    offered = {
        name: row(page, name).locator("button:visible").all_inner_texts()
        for name in ("waits", "heard", "done", "broken", "undecodable", "stopped")
    }
    assert offered == {
        "waits": ["Cancel", "Erase"],
        "heard": ["Cancel", "Erase"],
        "done": ["Download", "Erase"],
        "broken": ["Send again", "Erase"],
        "undecodable": ["Erase"],
        "stopped": ["Erase"],
    }
    row(page, "waits").get_by_role("button", name="Cancel").click()
    expect(row(page, "waits")).to_contain_text("Cancelled")
    row(page, "broken").get_by_role("button", name="Send again").click()
    expect(row(page, "broken")).to_contain_text("Waiting, as the next")
    service.jobs[1].update(state="done", progress=1.0)
    expect(row(page, "heard")).to_contain_text("Done")
    expect(page.locator("#shelf-told")).to_have_text("heard: Done.")
    row(page, "stopped").get_by_role("button", name="Erase").click()
    expect(page.get_by_role("dialog", name="Erase “stopped”?")).to_be_visible()
    page.get_by_role("button", name="Keep it").click()
    expect(row(page, "stopped")).to_have_count(1)
    row(page, "stopped").get_by_role("button", name="Erase").click()
    page.get_by_role("button", name="Erase", exact=True).click()
    expect(row(page, "stopped")).to_have_count(0)
    assert ("DELETE", f"/v1/recordings/{job('stopped')['id']}", "owner") in service.asked


def test_nothing_is_asked_while_nothing_goes_on(page: Page, service: Service) -> None:
    service.jobs = [job("done")]
    remember(page)
    wait(page, "d.recordings === '1'")
    asked = len(service.asked)
    page.wait_for_timeout(2_500)
    assert len(service.asked) == asked


def test_a_download_carries_the_key_in_a_header(page: Page, service: Service) -> None:
    service.jobs = [job("Session: one.wav")]
    remember(page)
    row(page, "Session").get_by_role("button", name="Download").click()
    expect(page.get_by_role("button", name="Report")).to_be_focused()
    page.keyboard.press("ArrowDown")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "Session one.csv"
    assert Path(download.value.path()).read_text() == "start,end\n"
    expect(row(page, "Session").get_by_role("button", name="Download")).to_be_focused()
    assert ("GET", f"/v1/recordings/{service.jobs[0]['id']}/timeline.csv", "owner") in service.asked
    assert not any("owner" in path for _, path, _ in service.asked)


def test_the_key_can_be_forgotten(page: Page, service: Service) -> None:
    service.jobs = [job("done")]
    remember(page)
    expect(page.locator("#shelf-key")).to_contain_text("This browser keeps the keys to these recordings")
    page.get_by_role("button", name="Forget the keys").click()
    expect(page.get_by_role("dialog")).to_contain_text("They stay where they are until they expire")
    page.get_by_role("button", name="Forget", exact=True).click()
    expect(page.locator("#shelf")).to_be_hidden()
    assert page.evaluate(f"localStorage.getItem('{SHELF}')") is None


def test_recordings_under_every_key_are_listed_and_asked_for_with_their_own(page: Page, service: Service) -> None:
    service.jobs = [job("mine")]
    service.others = {"second": [job("other", created_at=time.time() + 1)]}
    shelves = [{"key": key, "viewers": {}} for key in ("second", "gone", "owner")]
    page.evaluate(f"kept => localStorage.setItem('{SHELF}', JSON.stringify(kept))", shelves)
    page.reload()
    wait(page, "d.recordings === '2'")
    expect(page.locator("#recordings > li a")).to_have_text(["other", "mine"])
    known = [shelf["key"] for shelf in page.evaluate(f"JSON.parse(localStorage.getItem('{SHELF}'))")]
    assert known == ["second", "owner"], "nothing is under a key that the service does not know"
    row(page, "mine").get_by_role("button", name="Erase").click()
    page.get_by_role("button", name="Erase", exact=True).click()
    wait(page, "d.recordings === '1'")
    row(page, "other").get_by_role("button", name="Erase").click()
    page.get_by_role("button", name="Erase", exact=True).click()
    wait(page, "d.recordings === '0'")
    assert [key for method, _, key in service.asked if method == "DELETE"] == ["owner", "second"]


def test_a_service_that_is_away_is_said_once(page: Page, service: Service) -> None:
    service.jobs = [job("done")]
    remember(page)
    wait(page, "d.recordings === '1'")
    service.away = True
    page.evaluate("dispatchEvent(new Event('focus'))")
    trouble = page.locator("#shelf-trouble")
    expect(trouble).to_contain_text("does not answer at the moment; the page asks again by itself")
    expect(row(page, "done")).to_have_count(1)
    expect(page.get_by_role("alert").filter(visible=True)).to_have_count(0)
    service.away = False
    expect(trouble).to_be_hidden(timeout=15_000)


def test_other_doors_stay_as_they_were(context: BrowserContext, backend: Backend, page_url: str) -> None:
    """A page without uploads asks the service for nothing and shows no list."""
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if f":{backend.port}" in request.url else None)
    page.goto(page_url)
    wait(page, "d.state === 'ready'")
    expect(page.locator("#shelf")).to_be_hidden()
    assert not asked
