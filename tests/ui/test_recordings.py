"""The second door in a real browser: what is said of uploads and recordings, and what the service is asked for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from pipeline.consent import CURRENT
from pipeline.session import NewSession
from tests.browser import declare, obeying, until, wait
from tests.ui.stage import CORS, Backend

pytestmark = pytest.mark.timeout(120)
NASTY = "<img src=x onerror=alert(1)>.wav"
SOUND = {"name": "talk.wav", "mimeType": "audio/wav", "buffer": b"RIFF" + bytes(2_000)}
SHELF = "tonetrack-recordings"
AGREED_TO = {"consent_version": CURRENT.version}
Answer = tuple[int, Any]


def job(name: str, state: str = "done", **more: Any) -> dict[str, Any]:
    return {
        "id": name.encode().hex()[:16].ljust(16, "0"),
        "name": name,
        "purpose": "research",
        "state": state,
        "created_at": time.time(),
        "seconds": 30.0,
        "done": 0.0,
        "progress": 0.0,
        "audio": False,
        "keep_audio": False,
        "retryable": False,
        "file": name,
        "bytes": 2_004,
        "expires_in": 3_600 if state not in ("queued", "running") else None,
    } | more


class Service:
    """Stands in for the service's recordings, under one key or more.

    `posts` are the answers to uploads, the last for ever.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.jobs: list[dict[str, Any]] = []
        self.posts: list[Answer | None] = []
        self.asked: list[tuple[str, str, str | None]] = []
        self.forms: list[tuple[str, bytes]] = []
        self.others: dict[str, list[dict[str, Any]]] = {}  # under other keys
        self.stalled: list[Route] = []  # downloads of the sound that do not come
        self.stalls = False
        self.away = False

    def answer(self, route: Route) -> None:
        request = route.request
        path = request.url.split(f":{self.port}")[1]
        key = request.headers.get("authorization", "").removeprefix("Bearer ") or None
        if self.away:
            route.abort("connectionrefused")
            return
        if request.method == "OPTIONS":
            route.fulfill(status=204, headers=CORS)
            return
        self.asked.append((request.method, path, key))
        if self.stalls and path.endswith("/audio"):
            self.stalled.append(route)
            return
        if request.method == "POST" and path == "/v1/recordings":
            self.forms.append((request.headers["idempotency-key"], request.post_data_buffer or b""))
            told = self.posts.pop(0) if len(self.posts) > 1 else self.posts[0]
            if told is None:
                route.abort("connectionreset")
                return
            status, body = told
            if status == 202:
                self.jobs.insert(0, body)
                body = body | {"key": "owner", "viewer_key": "viewer"}
            route.fulfill(status=status, json=body, headers=CORS)
            return
        route.fulfill(headers=CORS, **self._told(request.method, path, key))

    def _told(self, method: str, path: str, key: str | None) -> dict[str, Any]:
        if path.startswith("/v1/recordings?"):
            if key in self.others:
                return {"json": {"recordings": self.others[key], "next": None}}
            if key != "owner":
                return {"status": 403, "json": {"detail": "No recordings are under this key."}}
            return {"json": {"recordings": self.jobs, "next": None}}
        found = [one for jobs in (self.jobs, *self.others.values()) for one in jobs if one["id"] == path.split("/")[3]]
        if not found:
            return {"status": 404, "json": {"detail": "There is no such recording."}}
        match method, path.split("/")[4:]:
            case "DELETE", []:
                for jobs in (self.jobs, *self.others.values()):
                    jobs[:] = [one for one in jobs if one is not found[0]]
                return {"json": {"erased": found[0]["id"]}}
            case "POST", ["retry"]:
                found[0].update(state="queued", position=1, retryable=False, error=None)
            case "POST", ["cancel"]:
                found[0].update(state="cancelled")
            case "GET", ["timeline.csv"]:
                return {"body": "start,end\r\n", "content_type": "text/csv"}
            case "GET", ["audio"]:
                return {"body": b"no sound", "content_type": "audio/wav"}
        return {"json": found[0]}


@pytest.fixture
def service(backend: Backend) -> Service:
    return Service(backend.port)


@pytest.fixture
def page(browser: Browser, page_url: str, service: Service) -> Iterator[Page]:
    """The page before anything is recorded; no script may fail in it."""
    with obeying(browser.new_context(accept_downloads=True)) as context:
        page = context.new_page()
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.route(f"**:{service.port}/**", service.answer)
        page.goto(page_url)
        wait(page, "d.state === 'ready'")
        yield page
        context.close()
    assert not troubles


def remember(page: Page, **shelf: Any) -> None:
    """As if recordings had been uploaded from this browser before."""
    page.evaluate(
        f"kept => localStorage.setItem('{SHELF}', JSON.stringify(kept))", {"key": "owner", "viewers": {}} | shelf
    )
    page.reload()
    wait(page, "d.state === 'ready'")


def row(page: Page, name: str) -> Any:
    return page.locator("#recordings > li").filter(has=page.locator(".what > :first-child").filter(has_text=name))


def send(page: Page, *files: Any) -> None:
    page.locator("#files").set_input_files(list(files) or [SOUND])
    page.locator("#send").click()


def fields(form: bytes) -> dict[str, str]:
    return dict(re.findall(r'name="(\w+)"\r\n\r\n(.*?)\r\n', form.decode("latin-1")))


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
    service.posts = [(503, {"detail": "Too many recordings wait."}), None, (202, job("talk.wav", "queued"))]
    declare(page)
    send(page)
    expect(row(page, "talk.wav")).to_contain_text("Too many recordings wait.")
    expect(row(page, "talk.wav")).to_contain_text("The connection broke. It is tried again by itself.")
    expect(row(page, "talk.wav")).to_contain_text("Waiting, as the next", timeout=15_000)
    assert len(service.forms) == 3
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


def test_a_recording_that_is_still_heard_shows_how_far_and_then_what_was_heard(
    page: Page, page_url: str, service: Service, backend: Backend
) -> None:
    service.jobs = [job("talk.wav", "running", progress=0.25, step="how it sounds", done=10.0)]
    remember(page)
    page.get_by_role("link", name="talk.wav").click()
    wait(page, "d.state === 'hearing' && d.recording === 'running'")
    expect(page.locator("#state-text")).to_have_text("Being heard 25 %")
    expect(page.locator("#title")).to_have_text("talk.wav")
    expect(page.locator("#empty")).to_have_text("Being heard, 25 %. What is heard in it will appear here by itself.")
    expect(page.locator("#heard-step")).to_have_text("how it sounds: 0:10 of 0:30")
    expect(page.locator("#recorder")).to_be_hidden()
    service.jobs[0].update(progress=0.5)
    expect(page.locator("#state-text")).to_have_text("Being heard 50 %")
    service.jobs[0].update(state="failed", error="It holds no sound.", retryable=True)
    wait(page, "d.state === 'failed'")
    expect(page.locator("#empty")).to_have_text("This recording could not be heard. It holds no sound.")
    page.locator("#again").click()
    wait(page, "d.state === 'queued'")
    page.get_by_role("link", name="← All recordings").click()
    wait(page, "d.state === 'ready' && d.recordings === '1'")
    expect(page.locator("#title")).to_be_empty()
    page.go_back()
    wait(page, "d.state === 'queued'")


Opener = Callable[..., Page]


@pytest.fixture
def heard(page: Page, page_url: str, service: Service, backend: Backend) -> Opener:
    """Opens what has been heard of a recording, as its owner."""

    def open_recording(**more: Any) -> Page:
        session: NewSession = backend.held(60)
        service.jobs = [job("talk.wav", seconds=60.0, id=session.id, **more)]
        kept = {"recorderKey": session.recorder_key, "codec": "pcm16"}
        page.evaluate("([id, kept]) => sessionStorage.setItem(`tonetrack:${id}`, kept)", [session.id, json.dumps(kept)])
        page.goto(f"{page_url}/?session={session.id}#{session.viewer_key}")
        wait(page, "d.state === 'ended' && d.speakers === '3' && d.recording === 'done'")
        return page

    return open_recording


def test_sound_that_was_not_kept_is_told_in_a_line(heard: Opener) -> None:
    page = heard(audio=False)
    expect(page.locator("#player")).to_have_text(
        "The sound was not kept, so it cannot be played along.", use_inner_text=True
    )
    expect(page.locator(".playhead").filter(visible=True)).to_have_count(0)
    expect(page.locator("#facts-text")).to_contain_text("The sound has been erased. Everything is erased in 1 h.")
    expect(page.locator("#state-text")).to_have_text("Done 1:00")
    expect(page.locator("#download")).to_be_hidden()
    expect(page.locator("#downloads")).to_be_visible()


def test_what_is_over_is_told_as_a_whole(heard: Opener) -> None:
    """It told of its last half second."""
    page = heard(audio=False)
    expect(page.locator("#people-title")).to_have_text("People over the whole recording")
    expect(page.locator(".who .how").first).to_have_text(re.compile(r"^mostly \w+$"))
    expect(page.locator(".who").first).to_contain_text(re.compile(r"\d+\s% of it"))
    expect(page.locator("#people")).not_to_contain_text("confidence")
    expect(page.locator("#moods-title")).to_have_text("Mood map over the whole recording")
    expect(page.locator("#values-span")).to_be_visible()
    expect(page.locator("#values")).to_have_attribute("aria-label", "Mean probabilities over the whole recording")
    expect(page.locator("[data-plot=moods]")).to_have_attribute("aria-label", re.compile("middle and spread over"))
    shown = "Bokeh.documents[0].get_model_by_name('moods').children.map(({name}) => name)"
    assert page.evaluate(shown) == ["places"]


def test_a_large_sound_says_so_and_can_be_left(heard: Opener, service: Service) -> None:
    service.stalls = True
    page = heard(audio=True, keep_audio=True, bytes=312_000_000)
    page.locator("#play").click()
    expect(page.locator("#player-says")).to_have_text("312 MB, downloading")
    page.locator("#player").get_by_role("button", name="Cancel").click()
    wait(page, "d.player === 'idle'")
    expect(page.locator("#stop-loading")).to_be_hidden()
    expect(page.locator("#play")).to_be_focused()


def test_the_playhead_goes_where_one_points(heard: Opener) -> None:
    page = heard(audio=True, keep_audio=True)
    wait(page, "d.player === 'idle'")
    expect(page.locator(".playhead").filter(visible=True)).to_have_count(2)
    at = page.evaluate(
        """() => {
        const view = Bokeh.index.get_by_id(Bokeh.documents[0].get_model_by_name("ribbons").id)
        const {x, y} = view.canvas_view.el.getBoundingClientRect()
        return [x + view.frame.x_scale.compute(25), y + (view.frame.bbox.top + view.frame.bbox.bottom) / 2]
    }"""
    )
    page.mouse.click(*at)
    expect(page.locator("#time")).to_have_text(re.compile("0:2[45]"))
    assert abs(page.locator(".playhead").first.bounding_box()["x"] - at[0]) < 3
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#turn")).not_to_be_empty()
    started = page.evaluate("document.getElementById('seek').valueAsNumber")
    assert started > 25, "the next turn after what was pointed at"
    page.locator("#seek").focus()
    page.keyboard.press("End")
    expect(page.locator("#time")).to_have_text("1:00")
    expect(page.locator("#seek")).to_have_attribute("aria-valuetext", "1:00 of 1:00")
    page.keyboard.press("Home")
    page.evaluate("Bokeh.documents[0].get_model_by_name('ribbons').x_range.setv({start: 0, end: 10})")
    page.keyboard.press("End")
    until(  # whoever looks closer is taken along
        page, "(({start, end}) => start > 40 && end >= 60)(Bokeh.documents[0].get_model_by_name('ribbons').x_range)"
    )
    expect(page.locator(".playhead").filter(visible=True)).to_have_count(2)


def test_sound_that_the_browser_cannot_play_can_be_had(heard: Opener) -> None:
    page = heard(audio=True, keep_audio=True)
    page.locator("h1").click()
    page.keyboard.press("Space")
    wait(page, "d.player === 'broken'")
    expect(page.locator("#player")).to_contain_text("This browser cannot play sound of this kind.")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the sound").click()
    assert download.value.suggested_filename == "talk.wav"


def test_erasing_a_recording_asks_the_service_that_has_its_sound(heard: Opener, service: Service) -> None:
    page = heard()
    page.get_by_role("button", name="Erase now").click()
    page.get_by_role("button", name="Erase", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("This recording has been erased. Nothing of it is left.")
    wait(page, "d.state === 'erased'")
    assert not service.jobs


def test_other_doors_stay_as_they_were(context: BrowserContext, backend: Backend, page_url: str) -> None:
    """A page without uploads asks the service for nothing and shows no list."""
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if f":{backend.port}" in request.url else None)
    page.goto(page_url)
    wait(page, "d.state === 'ready'")
    expect(page.locator("#shelf")).to_be_hidden()
    assert not asked
