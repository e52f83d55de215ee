"""People enrol their voices on the page, say who takes part, and erase what was kept of them."""

from __future__ import annotations

import io
import json
import re
import time
from email import message_from_bytes
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import BrowserContext, Page, Route, expect

from pipeline.timeline import SAMPLE_RATE
from tests.browser import declare, until, wait
from tests.ui.stage import CORS, Backend

pytestmark = pytest.mark.timeout(120)
ANNA = {"id": "0123456789abcdef", "key": "annas-key", "name": "Anna", "seconds": 10.5, "consented_at": 0.0}
BEN = {"id": "fedcba9876543210", "key": "bens-key", "name": "Ben"}
DAY = 86_400
STORED = "JSON.parse(localStorage.getItem('tonetrack-voices'))"


class Voices:
    """The service's answers about voices: `answers` to enrolments, in turn, and those that are `there` to be seen.

    `shut`: those whose key it refuses.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.there: set[str] = set()
        self.shut: set[str] = set()
        self.enrolled: list[bytes] = []
        self.asked: list[tuple[str, str, str | None]] = []

    def answer(self, route: Route) -> None:
        request = route.request
        if request.method == "OPTIONS":
            return route.fulfill(status=204, headers=CORS)
        if request.method == "POST":
            body = request.post_data_buffer or b""
            self.enrolled.append(b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n" + body)
            status, told = self.answers.pop(0)
            return route.fulfill(status=status, json=told, headers=CORS)
        voice = request.url.split("/")[-1]
        self.asked.append((request.method, voice, request.headers.get("authorization")))
        status = 403 if voice in self.shut else 200 if voice in self.there else 404
        return route.fulfill(status=status, json={"detail": "There is no such voice."}, headers=CORS)

    def said(self, number: int = -1) -> dict[str, bytes]:
        """What an enrolment said, by field."""
        parts = message_from_bytes(self.enrolled[number]).get_payload()
        return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}  # type: ignore


@pytest.fixture
def voices(context: BrowserContext, backend: Backend) -> Voices:
    voices = Voices()
    context.route(f"**:{backend.port}/v1/voices**", voices.answer)
    return voices


def opened(context: BrowserContext, url: str, *known: dict[str, Any], days: float = 3) -> Page:
    """The page, in a browser that knows these voices."""
    page = context.new_page()
    page.goto(url)
    kept = [voice | {"until": time.time() + days * DAY} for voice in known]
    page.evaluate("voices => localStorage.setItem('tonetrack-voices', JSON.stringify(voices))", kept)
    page.reload()
    wait(page, "d.state === 'ready'")
    page.get_by_text("Call people by name").click()
    return page


def fill(page: Page, name: str = "Anna") -> None:
    page.get_by_role("button", name="Enrol a voice").click()
    page.get_by_label("Your name").fill(name)
    page.get_by_label("I speak for myself").check()


def enrolment(seconds: float = 7 * DAY) -> tuple[int, dict[str, Any]]:
    return 201, ANNA | {"expires_at": time.time() + seconds}


def test_a_voice_is_enrolled_and_takes_part(
    context: BrowserContext, backend: Backend, voices: Voices, page_url: str
) -> None:
    voices.answers = [enrolment()]
    page = opened(context, page_url)
    page.get_by_role("button", name="Enrol a voice").click()
    expect(page.get_by_label("Your name")).to_be_focused()
    page.get_by_role("button", name="Speak").click()
    assert not voices.enrolled, "without a name and without consent nothing is heard"
    page.get_by_label("Your name").fill(" Anna ")
    page.get_by_label("Keep my voice for").select_option("a week")
    page.get_by_role("button", name="Speak").click()
    expect(page.locator("#enrol-told")).to_contain_text("Then speak for 12 seconds")
    page.get_by_label("I speak for myself").check()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Listening. Please speak:")).to_be_focused()
    expect(page.get_by_label("How much has been heard")).to_have_attribute("value", re.compile(r"0\.[1-9]"))
    expect(page.locator("#enrol-meter")).to_have_attribute("aria-valuenow", re.compile(r"[1-9]\d*"))
    expect(page.get_by_role("dialog")).to_be_hidden(timeout=20_000)
    said = voices.said()
    assert (said["name"].strip(), said["days"], said["consent"]) == (b"Anna", b"7", b"true")
    sound, rate = soundfile.read(io.BytesIO(said["file"]), dtype="int16")
    assert (rate, sound.ndim, len(sound)) == (SAMPLE_RATE, 1, 12 * SAMPLE_RATE)
    assert np.abs(sound).max() > 1_000, "the microphone's sound is in it"
    tick = page.get_by_role("checkbox", name="Anna")
    expect(tick).to_be_focused()
    expect(tick).to_be_checked()
    expect(page.locator("#known-told")).to_contain_text("The voice of Anna is enrolled, until ")
    expect(page.locator("#known summary")).to_contain_text("1 takes part")
    backend.refusal = 503, {"detail": "Another time."}
    declare(page)
    page.get_by_role("button", name="Record", exact=True).click()
    wait(page, "d.recorder === 'failed'")
    (asked,) = backend.asked
    assert (asked.post_data_json or {})["voices"] == [{"id": ANNA["id"], "key": ANNA["key"]}]
    assert ANNA["key"] not in page.url


@pytest.mark.parametrize(
    ("answer", "sentence", "button"),
    [
        ((422, {"detail": "More than one voice is heard; let one talk."}), "More than one voice", "Speak again"),
        ((429, {"detail": "Several voices are being enrolled."}), "Several voices", "Send again"),
    ],
)
def test_what_went_wrong_is_said_and_can_be_done_again(
    context: BrowserContext, voices: Voices, page_url: str, answer: tuple[int, Any], sentence: str, button: str
) -> None:
    voices.answers = [answer, enrolment()]
    page = opened(context, page_url)
    fill(page)
    page.get_by_role("button", name="Speak").click()
    again = page.get_by_role("button", name=button)
    expect(again).to_be_focused(timeout=20_000)
    expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible()
    expect(page.get_by_label("Your name")).to_have_value("Anna")
    again.click()
    expect(page.locator("#enrol-wrong")).to_be_hidden()
    expect(page.get_by_role("dialog")).to_be_hidden(timeout=20_000)
    assert (voices.said(0)["file"] == voices.said(1)["file"]) == (button == "Send again")


def test_whoever_leaves_off_leaves_nothing(context: BrowserContext, voices: Voices, page_url: str) -> None:
    page = opened(context, page_url)
    fill(page)
    page.evaluate(
        "() => { const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        "navigator.mediaDevices.getUserMedia = async (asked) => (window.microphone = await open(asked)) }"
    )
    page.get_by_role("button", name="Speak").click()
    expect(page.get_by_label("How much has been heard")).to_have_attribute("value", re.compile(r"0\.\d"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name="Enrol a voice")).to_be_focused()
    until(page, "microphone.getTracks().every(({readyState}) => readyState === 'ended')")
    page.get_by_role("button", name="Enrol a voice").click()
    expect(page.get_by_label("Your name")).to_have_value("")
    expect(page.get_by_label("I speak for myself")).not_to_be_checked()
    assert not voices.enrolled
    assert page.evaluate(STORED) == []


def test_a_server_that_wants_an_api_key_is_given_one(context: BrowserContext, voices: Voices, page_url: str) -> None:
    sent: list[str | None] = []
    context.on(
        "request", lambda request: sent.append(request.headers.get("x-api-key")) if "/voices" in request.url else None
    )
    voices.answers = [(403, {"detail": "This API key has expired.", "code": "api_key"})]
    page = opened(context, page_url)
    page.evaluate("() => { document.getElementById('api-key-row').hidden = false }")
    page.get_by_role("button", name="Enrol a voice").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_label("API key")).to_be_focused()
    page.get_by_label("API key").fill("the-key")
    fill(page)
    page.get_by_role("button", name="Speak").click()
    expect(page.get_by_role("alert").filter(has_text="This API key has expired.")).to_be_visible(timeout=20_000)
    assert sent[-1] == "the-key"


def test_without_a_microphone_it_says_so(context: BrowserContext, voices: Voices, page_url: str) -> None:
    page = opened(context, page_url)
    none = "async () => { throw new DOMException('', 'NotFoundError') }"
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {none} }}")
    fill(page)
    page.get_by_role("button", name="Speak").click()
    expect(page.get_by_role("alert").filter(has_text="No microphone was found.")).to_contain_text("then try again.")


def test_only_those_who_are_ticked_are_looked_for(
    context: BrowserContext, backend: Backend, voices: Voices, page_url: str
) -> None:
    voices.there = {str(ANNA["id"]), BEN["id"]}
    forms: list[str] = []

    def taken(route: Route) -> None:
        if route.request.method == "OPTIONS":
            return route.fulfill(status=204, headers=CORS)
        forms.append((route.request.post_data_buffer or b"").decode(errors="replace"))
        return route.fulfill(status=422, json={"detail": "It is no recording."}, headers=CORS)

    context.route(f"**:{backend.port}/v1/recordings**", taken)
    page = opened(context, page_url, ANNA, BEN)
    expect(page.locator("#known-count")).to_be_empty()
    page.get_by_role("checkbox", name="Ben").focus()
    page.keyboard.press("Space")
    expect(page.locator("#known-count")).to_have_text("1 takes part")
    declare(page)
    file: Any = {"name": "talk.wav", "mimeType": "audio/wav", "buffer": b"sound"}
    page.locator("#files").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_text("It is no recording.")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Ben")).not_to_be_checked()
    declare(page)
    page.locator("#files").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_text("It is no recording.")).to_have_count(2)
    assert [who for _, who, _ in voices.asked] == [ANNA["id"], BEN["id"]]
    with_ben, without = forms
    sent = f'name="voices"\r\n\r\n{json.dumps([{"id": BEN["id"], "key": BEN["key"]}], separators=(",", ":"))}\r\n'
    assert sent in with_ben
    assert 'name="voices"' not in without


def test_whoever_took_part_in_a_live_session_is_not_looked_for_in_the_next(
    context: BrowserContext, backend: Backend, voices: Voices, page_url: str
) -> None:
    ben = backend.enrol("Ben")
    voices.there = {ben["id"]}
    page = opened(context, page_url, ben)
    page.evaluate("() => history.pushState(null, '', './')")  # as after a look at a recording: Back loads no page anew
    tick = page.get_by_role("checkbox", name="Ben")
    tick.check()
    declare(page)
    backend.refusal = 503, {"detail": "Another time."}
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.locator("#notice")).to_contain_text("Another time.")
    expect(tick).to_be_checked()
    backend.refusal = None
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="Stop recording").click()
    wait(page, "d.state === 'ended'")
    asked = [request.post_data_json or {} for request in backend.asked]
    assert [said["voices"] for said in asked] == [[{"id": ben["id"], "key": ben["key"]}]] * 2
    page.locator("#erase").click()
    page.get_by_role("button", name="Erase", exact=True).click()
    wait(page, "d.state === 'erased' && d.recorder === 'idle'")
    page.evaluate("() => { window.before = true; history.back() }")
    wait(page, "d.phase === 'setup'")
    expect(tick).to_be_visible()
    assert page.evaluate("window.before"), "what is loaded anew has forgotten everything"
    expect(tick).not_to_be_checked()


def test_a_voice_is_erased_by_its_key(context: BrowserContext, voices: Voices, page_url: str) -> None:
    voices.there = {str(ANNA["id"]), BEN["id"]}
    page = opened(context, page_url, ANNA, BEN)
    page.get_by_role("button", name="Erase the voice of Anna").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator("#voices > li")).to_have_count(2)
    page.get_by_role("button", name="Erase the voice of Anna").click()
    page.get_by_role("button", name="Erase", exact=True).click()
    expect(page.locator("#voices > li")).to_have_count(1)
    expect(page.locator("#known-told")).to_have_text("The voice of Anna is erased.")
    expect(page.get_by_role("button", name="Enrol a voice")).to_be_focused()
    assert ("DELETE", ANNA["id"], f"Bearer {ANNA['key']}") in voices.asked
    assert [voice["name"] for voice in page.evaluate(STORED)] == ["Ben"]


def test_voices_that_are_gone_are_forgotten(
    context: BrowserContext, backend: Backend, voices: Voices, page_url: str
) -> None:
    voices.there = {BEN["id"]}
    page = opened(context, page_url, ANNA, BEN)
    expect(page.locator("#voices > li")).to_have_count(1)
    assert [voice["name"] for voice in page.evaluate(STORED)] == ["Ben"]
    page.get_by_role("checkbox", name="Ben").check()
    voices.there, backend.refusal = set(), (404, {"detail": "There is no such voice."})
    declare(page)
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.locator("#notice")).to_contain_text("These voices are not enrolled any more: Ben.")
    expect(page.locator("#voices > li")).to_have_count(0)


def test_a_key_that_is_refused_is_kept(
    context: BrowserContext, backend: Backend, voices: Voices, page_url: str
) -> None:
    voices.there, voices.shut = {str(ANNA["id"])}, {BEN["id"]}
    page = opened(context, page_url, ANNA, BEN)
    refused = "The service refuses the keys to these voices: Ben. They are kept in this browser"
    expect(page.locator("#known-told")).to_contain_text(refused)
    expect(page.locator("#voices > li")).to_have_count(2)
    backend.refusal = 422, {"detail": f"The key does not open the voice {BEN['id']}."}
    page.get_by_role("checkbox", name="Ben").check()
    declare(page)
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.locator("#notice")).to_contain_text(refused)
    assert [voice["key"] for voice in page.evaluate(STORED)] == [ANNA["key"], BEN["key"]]


def test_expired_voices_are_not_shown(context: BrowserContext, voices: Voices, page_url: str) -> None:
    page = opened(context, page_url, ANNA, days=-1)
    expect(page.locator("#voices > li")).to_have_count(0)
    assert not voices.asked


@pytest.mark.parametrize("stored", ["{", "7", '[{"id": "x"}]', "[null]"])
def test_what_is_not_ours_in_the_storage_breaks_nothing(
    context: BrowserContext, voices: Voices, page_url: str, stored: str
) -> None:
    page = context.new_page()
    page.goto(page_url)
    page.evaluate("text => localStorage.setItem('tonetrack-voices', text)", stored)
    page.reload()
    wait(page, "d.state === 'ready'")
    expect(page.locator("#voices > li")).to_have_count(0)
