"""A recording goes in through the page and comes out as a timeline: the whole service and a real Chromium."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import declare, until, wait
from tests.service import Pcm, Service
from tests.talkers import Said, write_wav

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(service.page)
    wait(page, "d.state === 'ready'", 30)
    yield page
    context.close()
    assert not troubles


def test_a_recording_is_uploaded_heard_played_and_erased(
    page: Page, small_conversation: tuple[Pcm, list[Said]], tmp_path: Path
) -> None:
    talk = write_wav(tmp_path / "Two at a table.wav", small_conversation[0].astype(np.float32) / 32_768)
    page.locator("#files").set_input_files(talk)
    declare(page)
    page.locator("#upload summary").click()
    page.get_by_label("Keep the sound").check()
    page.locator("#send").click()
    listed = page.locator("#recordings > li").filter(has_text="Two at a table.wav")
    expect(listed).to_contain_text(re.compile("Upload|Waiting|Being heard"))
    expect(listed).to_contain_text("Done", timeout=90_000)
    page.get_by_role("link", name="Two at a table.wav").click()
    wait(page, "d.state === 'ended' && d.recording === 'done' && d.speakers === '2' && d.role === 'recorder'", 30)
    expect(page.locator("#title")).to_have_text("Two at a table.wav")
    lanes = page.evaluate("Bokeh.documents[0].get_model_by_name('ribbons').y_range.start")
    assert lanes == -1.5, "two lanes"

    page.get_by_role("button", name="Rename Speaker 1").click()
    page.get_by_label("Name of speaker 1").fill("Anna")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#cards > li").filter(has_text="Anna")).to_have_count(1)

    with page.expect_download() as table:
        page.locator("#downloads").click()
        page.get_by_role("button", name="CSV").click()
    assert table.value.suggested_filename == "Two at a table.csv"
    rows = list(csv.DictReader(Path(table.value.path()).read_text().splitlines()))
    assert {one["name"] for one in rows} == {"Anna", "Speaker 2"}
    with page.expect_download() as report:
        page.locator("#downloads").click()
        page.get_by_role("button", name="Report").click()
    assert "Anna" in Path(report.value.path()).read_text()

    head = page.locator(".playhead").first
    before = head.bounding_box()
    page.locator("h1").click()
    page.keyboard.press("Space")
    wait(page, "d.player === 'playing'")
    until(page, "document.getElementById('seek').valueAsNumber > 1")
    after = head.bounding_box()
    assert before
    assert after
    assert after["x"] > before["x"]
    page.keyboard.press("Space")
    wait(page, "d.player === 'paused'")
    page.locator("#rate").select_option("2")
    page.keyboard.press("Escape")
    assert page.evaluate("document.getElementById('seek').valueAsNumber") < 24

    link = page.url
    page.get_by_role("link", name="← All recordings").click()
    wait(page, "d.state === 'ready' && d.recordings === '1'")
    page.reload()
    wait(page, "d.state === 'ready' && d.recordings === '1'", 30)
    page.goto(link)
    wait(page, "d.state === 'ended' && d.player === 'idle' && d.role === 'recorder'", 30)
    page.get_by_role("link", name="← All recordings").click()
    wait(page, "d.state === 'ready' && d.recordings === '1'")
    listed.get_by_role("button", name="Erase").click()
    page.get_by_role("button", name="Erase", exact=True).click()
    wait(page, "d.recordings === '0'")
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("There is no such session", timeout=20_000)


def test_what_is_no_recording_is_refused_with_the_reason(page: Page) -> None:
    declare(page)
    html = b"<!doctype html><title>no sound</title>" + b"<p>nothing to hear</p>" * 100
    page.locator("#files").set_input_files({"name": "talk.wav", "mimeType": "audio/wav", "buffer": html})
    page.locator("#send").click()
    refused = page.locator("#recordings > li").filter(has_text="talk.wav")
    expect(refused).to_contain_text("Not taken in", timeout=20_000)
    expect(refused).to_contain_text("send a recording, such as wav")
    wait(page, "d.recordings === '0'")
