"""The second door in a real browser: what is said of an upload, and what the service is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import declare, wait
from tests.ui.recordings.service import AGREED_TO, NASTY, SHELF, SOUND, Service, fields, job, row, send

pytestmark = pytest.mark.timeout(120)


def test_what_is_missing_is_said_and_both_doors_share_the_form(page: Page, service: Service) -> None:
    service.posts = [(202, job("talk.wav", "queued", position=2))]
    page.locator("#files").set_input_files([SOUND])
    expect(page.locator("#held")).to_contain_text("talk.wav")
    expect(page.locator("#send")).to_be_disabled()
    expect(page.locator("#upload-hint")).to_have_text("First choose a purpose and confirm that everyone has agreed.")
    page.get_by_label("Purpose of the recording").select_option("research")
    expect(page.locator("#upload-hint")).to_have_text("First confirm that everyone who will be heard has agreed.")
    page.get_by_label("How many will talk?").select_option("3")
    page.get_by_label("Name of the session").fill("Sunday")
    page.locator("#upload summary").click()
    expect(page.locator("#fate")).to_have_text("The sound is erased as soon as it has been heard.")
    page.get_by_label("Keep the sound").check()
    expect(page.locator("#fate")).to_have_text("The sound is kept for as long as the results, and erased with them.")
    page.get_by_label("Everyone who will be heard has agreed").focus()
    page.keyboard.press("Space")
    expect(page.locator("#send")).to_be_focused()
    page.keyboard.press("Space")
    expect(row(page, "talk.wav")).to_contain_text("Waiting, as number 2")
    (_, form), *others = service.forms
    assert not others
    said = {"purpose": "research", "consent": "true", "name": "Sunday", "channels": "mix", "keep_audio": "true"}
    assert fields(form) == said | AGREED_TO | {"min_speakers": "3", "max_speakers": "3"}
    assert bytes(SOUND["buffer"]) in form
    expect(page.get_by_label("Everyone who will be heard has agreed")).not_to_be_checked()
    expect(page.locator("#held li")).to_have_count(0)
    (kept,) = json.loads(page.evaluate(f"localStorage.getItem('{SHELF}')"))
    assert kept["key"] == "owner"
    assert "owner" not in page.url


def test_each_channel_being_one_person_nobody_is_counted(page: Page, service: Service) -> None:
    service.posts = [(202, job("a.wav", "queued")), (202, job("b.wav", "queued"))]
    declare(page)
    page.get_by_label("How many will talk?").select_option("2")
    page.locator("#upload summary").click()
    page.get_by_label("Each channel is one person").check()
    send(page, SOUND | {"name": "a.wav"}, SOUND | {"name": "b.wav"})
    wait(page, "d.recordings === '2' && d.uploads === '0'")
    assert [fields(form) for _, form in service.forms] == 2 * [
        {"purpose": "research", "consent": "true", "channels": "speakers", "keep_audio": "false"} | AGREED_TO
    ]
    uploads = [key for method, _, key in service.asked if method == "POST"]
    assert uploads == [None, "owner"], "the second comes under the key that the first was given"


def test_files_are_dropped_on_the_card_and_nowhere_else(page: Page) -> None:
    drop = """(selector) => {
        const dataTransfer = new DataTransfer()
        dataTransfer.items.add(new File(["x"], "dropped.wav"))
        const drag = (type) => new DragEvent(type, {dataTransfer, bubbles: true, cancelable: true})
        const place = document.querySelector(selector)
        place.dispatchEvent(drag("dragenter"))
        const over = document.querySelector("#upload").classList.contains("over")
        const event = drag("drop")
        place.dispatchEvent(event)
        return [over, event.defaultPrevented]
    }"""
    assert page.evaluate(drop, "main") == [False, True], "the file does not take the place of the page"
    expect(page.locator("#held li")).to_have_count(0)
    assert page.evaluate(drop, "#upload-title") == [True, True]
    expect(page.locator("#held li")).to_contain_text("dropped.wav")
    page.get_by_role("button", name="Remove dropped.wav").click()
    expect(page.locator("#held li")).to_have_count(0)
    expect(page.locator("#send")).to_be_hidden()


@pytest.mark.parametrize(
    ("status", "detail", "sentence"),
    [
        (413, "A recording has 2,048 MiB at most.", "A recording has 2,048 MiB at most."),
        (415, "This is a page of HTML; send a recording.", "This is a page of HTML; send a recording."),
        (422, "It is encrypted; send a copy.", "It is encrypted; send a copy."),
        (413, None, "The file is too large for this server."),
    ],
)
def test_why_a_file_is_not_taken_in_is_said(
    page: Page, service: Service, status: int, detail: Any, sentence: str
) -> None:
    service.posts = [(status, {"detail": detail})]
    declare(page)
    send(page, SOUND | {"name": NASTY})
    refused = row(page, "<img")
    expect(refused).to_contain_text("Not taken in")
    expect(refused).to_contain_text(sentence)
    refused.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#shelf")).to_be_hidden()
    assert len(service.forms) == 1


def test_a_full_server_and_a_broken_line_are_tried_again_as_the_same_upload(page: Page, service: Service) -> None:
    declare(page)
    service.posts = [(503, {"detail": "Too many recordings wait."})]
    send(page)
    expect(row(page, "talk.wav")).to_contain_text("Too many recordings wait.")
    service.posts = [None]
    expect(row(page, "talk.wav")).to_contain_text("The connection broke. It is tried again by itself.", timeout=15_000)
    service.posts = [(202, job("talk.wav", "queued"))]
    expect(row(page, "talk.wav")).to_contain_text("Waiting, as the next", timeout=15_000)
    assert len(service.forms) >= 3
    assert len(set(service.forms)) == 1, "the same key and the same bytes each time"


def test_an_upload_can_be_stopped_and_is_missed_by_nobody(page: Page, service: Service) -> None:
    service.posts = [None]
    declare(page)
    send(page)
    stop = row(page, "talk.wav").get_by_role("button", name="Stop")
    stop.click()
    expect(page.locator("#shelf")).to_be_hidden()
    tried = len(service.forms)
    page.wait_for_timeout(1_500)
    assert len(service.forms) == tried
