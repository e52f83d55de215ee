"""Naming and merging people in a real browser: what is asked of the service, and what every open page then shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from pipeline.events import EmotionRead, SpeakerNamed, SpeakersMerged, TurnUpdated, WordsHeard
from pipeline.session import NewSession
from pipeline.timeline import Turn, Word
from tests.browser import declare, wait
from tests.ui.conversation import hops
from tests.ui.stage import Backend

pytestmark = pytest.mark.timeout(120)
NASTY = "<img src=x onerror=alert(1)> $$x^2$$"
Opener = Callable[..., Page]


class Service:
    """Stands in for the service's own routes: keeps what is asked, and publishes what would follow."""

    def __init__(self, backend: Backend, session: NewSession) -> None:
        self.backend, self.session = backend, session
        self.asked: list[dict[str, Any]] = []
        self.refusal: tuple[int, dict[str, Any]] | None = None

    def answer(self, route: Route) -> None:
        request = route.request
        body = json.loads(request.post_data or "null")
        path = request.url.split(f":{self.backend.port}")[1]
        if path.startswith("/v1/recordings/"):  # it was recorded live
            route.fulfill(status=404, json={"detail": "no"}, headers={"access-control-allow-origin": "*"})
            return
        key = request.headers["authorization"].removeprefix("Bearer ")
        self.asked.append({"method": request.method, "path": path, "key": key, "body": body})
        headers = {"access-control-allow-origin": "*"}
        if self.refusal:
            status, told = self.refusal
            route.fulfill(status=status, json=told, headers=headers)
            return
        speaker = int(path.split("/")[5])
        if request.method == "PATCH":
            self.backend.tell(self.session.id, SpeakerNamed(speaker=speaker, name=body["name"]))
        else:
            self.backend.tell(self.session.id, SpeakersMerged(kept=body["into"], merged=speaker))
        route.fulfill(json={}, headers=headers)


@pytest.fixture
def session(backend: Backend) -> NewSession:
    return backend.held(60)


@pytest.fixture
def service(backend: Backend, session: NewSession) -> Service:
    return Service(backend, session)


@pytest.fixture
def opened(browser: Browser, page_url: str, service: Service) -> Iterator[Opener]:
    """Opens the session's page, as its recorder or as a viewer; no script may fail in any of them."""
    contexts: list[BrowserContext] = []
    troubles: list[str] = []

    def open_page(recorder: bool = True, speakers: int = 3, **options: Any) -> Page:
        session = service.session
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(dialog.message))
        if recorder:
            kept = json.dumps({"recorderKey": session.recorder_key, "codec": "pcm16"})
            page.add_init_script(f"sessionStorage.setItem('tonetrack:{session.id}', {json.dumps(kept)})")
        page.route(f"**:{service.backend.port}/**", service.answer)
        page.goto(f"{page_url}/?session={session.id}#{session.viewer_key}")
        wait(page, f"d.state === 'ended' && d.speakers === '{speakers}'")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not troubles


def card(page: Page, name: str) -> Any:
    return page.locator("#cards > li").filter(has_text=name)


def hover(page: Page, seconds: float, lane: float) -> None:
    """Rest the mouse on a place of the ribbons."""
    at = page.evaluate(
        """([seconds, y]) => {
        const view = Bokeh.index.get_by_id(Bokeh.documents[0].get_model_by_name("ribbons").id)
        const {x, y: top} = view.canvas_view.el.getBoundingClientRect()
        return [x + view.frame.x_scale.compute(seconds), top + view.frame.y_scale.compute(y)]
    }""",
        [seconds, -lane],
    )
    page.mouse.move(*at)


def test_a_name_is_asked_for_and_shows_on_every_open_page_after_the_end(service: Service, opened: Opener) -> None:
    page, viewer = opened(), opened(recorder=False)
    card(page, "Speaker 2").locator(".who").click()
    rename = page.get_by_role("button", name="Rename Speaker 2")
    rename.focus()
    page.keyboard.press("Enter")
    field = page.get_by_label("Name of speaker 2")
    expect(field).to_be_focused()
    page.keyboard.type(f" {NASTY} ")
    page.keyboard.press("Enter")
    assert page.locator("#title").text_content() == ""
    expect(card(page, NASTY)).to_have_count(1)
    expect(field).to_have_count(0)
    expect(page.get_by_role("button", name=f"Rename {NASTY}")).to_be_focused()
    expect(page.locator("#corrected")).to_have_text(f"Speaker 2 is now called {NASTY}.")
    expect(page.locator("#probabilities-title")).to_have_text(NASTY)
    expect(card(viewer, NASTY)).to_have_count(1)
    path = f"/v1/sessions/{service.session.id}/speakers/2"
    asked = {"method": "PATCH", "path": path, "key": service.session.recorder_key, "body": {"name": NASTY}}
    assert service.asked == [asked]
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#turn")).to_contain_text(f"{NASTY}, 0:01 to")
    hover(page, 5, 1)
    expect(page.locator(".bk-Tooltip")).to_contain_text(NASTY)


def test_escape_leaves_the_name_as_it_was(service: Service, opened: Opener) -> None:
    page = opened()
    card(page, "Speaker 2").locator(".who").click()
    page.get_by_role("button", name="Rename Speaker 2").click()
    page.keyboard.type("Anna")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Rename Speaker 2")).to_be_focused()
    expect(card(page, "Speaker 2")).to_have_count(1)
    assert not service.asked


@pytest.mark.parametrize(
    ("status", "told", "sentence"),
    [
        (404, {"detail": "There is no speaker 2; so far there are: 1."}, "There is no speaker 2; so far there are: 1."),
        (403, {"detail": "no"}, "The server does not accept this recorder's key any more."),
        (503, {"detail": "away"}, "ToneTrack cannot change this at the moment. Please try again."),
        (422, {"detail": [{"msg": "?"}]}, "This could not be changed."),
    ],
)
def test_why_a_name_was_not_taken_stands_beside_it(
    service: Service, opened: Opener, status: int, told: dict[str, Any], sentence: str
) -> None:
    service.refusal = (status, told)
    page = opened()
    card(page, "Speaker 2").locator(".who").click()
    page.get_by_role("button", name="Rename Speaker 2").click()
    page.get_by_label("Name of speaker 2").fill("Anna")
    page.get_by_role("button", name="Save").click()
    expect(card(page, "Speaker 2").get_by_role("alert")).to_have_text(sentence)
    expect(page.get_by_label("Name of speaker 2")).to_have_value("Anna")
    service.refusal = None
    page.get_by_role("button", name="Save").click()
    expect(card(page, "Anna")).to_have_count(1)


def test_two_become_one_after_it_was_said_what_that_means(service: Service, opened: Opener) -> None:
    page, viewer = opened(), opened(recorder=False)
    service.backend.tell(service.session.id, SpeakerNamed(speaker=2, name="Anna", by="voice"))
    card(page, "Speaker 3").locator(".who").click()
    page.get_by_role("button", name="Same person as …: Speaker 3").click()
    choice = page.get_by_label("Speaker 3 is the same person as")
    expect(choice).to_be_focused()
    expect(choice.locator("option")).to_have_text(["Please choose", "Speaker 1", "Anna"])
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#merge-dialog")).to_be_hidden()  # nobody has been chosen
    choice.select_option("Anna")
    page.get_by_role("button", name="Continue").click()
    dialog = page.get_by_role("dialog", name="Are Speaker 3 and Anna one person?")
    expect(dialog).to_contain_text("belongs to Anna, for everyone who watches")
    expect(dialog).to_contain_text("This cannot be undone.")
    page.get_by_role("button", name="Keep them apart").click()
    assert not service.asked
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Merge", exact=True).click()
    for each in (page, viewer):
        wait(each, "d.speakers === '2'")
        expect(each.locator(".who b")).to_have_text(["Speaker 1", "Anna"])
    expect(card(page, "Anna")).to_contain_text("recognised by voice")
    expect(card(page, "Anna").locator(".who")).to_be_focused()
    expect(page.locator("#probabilities-title")).to_have_text("Anna")
    expect(page.locator("#corrected")).to_have_text("Speaker 3 and Anna are now one person.")
    path = f"/v1/sessions/{service.session.id}/speakers/3/merge"
    assert service.asked == [{"method": "POST", "path": path, "key": service.session.recorder_key, "body": {"into": 2}}]


def test_what_is_being_written_stays_while_the_cards_change(service: Service, opened: Opener) -> None:
    page = opened()
    card(page, "Speaker 3").locator(".who").click()
    page.get_by_role("button", name="Rename Speaker 3").click()
    page.keyboard.type("Ber")
    service.backend.tell(service.session.id, SpeakersMerged(kept=2, merged=1))
    wait(page, "d.speakers === '2'")
    page.keyboard.type("ta")
    expect(page.get_by_label("Name of speaker 3")).to_have_value("Berta")
    service.backend.tell(service.session.id, SpeakersMerged(kept=2, merged=3))
    wait(page, "d.speakers === '1'")
    expect(page.locator("#people")).to_be_focused()


def test_a_viewer_may_only_look(opened: Opener) -> None:
    page = opened(recorder=False)
    card(page, "Speaker 2").locator(".who").click()
    for name in ("Rename", "Same person as"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_overlaps_are_told_in_words(service: Service, opened: Opener) -> None:
    beneath = Turn(id=900, speaker=3, start=2, end=5, final=True, second_voice=True)
    mixed = next(event for hop in hops(8) for event in hop if isinstance(event, EmotionRead))
    reading = mixed.reading.model_copy(update={"mixed": True, "start": 56.0, "end": 60.0, "turn": 901})
    more = (
        TurnUpdated(turn=beneath),
        TurnUpdated(turn=Turn(id=901, speaker=1, start=56, end=60, final=True)),
        EmotionRead(reading=reading),
    )
    service.session = service.backend.held(60, *more)
    page = opened()
    tooltip = page.locator(".bk-Tooltip").filter(visible=True)
    hover(page, 3, 2.2)
    expect(tooltip).to_contain_text("talks beneath another")
    expect(tooltip).to_contain_text("0:02 to 0:05")
    expect(tooltip).to_contain_text("Two talk at once: whose tone it is cannot be told.")
    hover(page, 59.5, 0)
    expect(tooltip).to_contain_text("Speaker 1 0:56 to 1:00 Two talk at once: whose tone it is cannot be told.")
    expect(page.locator("#legend")).to_contain_text("two talk at once")
    expect(page.locator("#legend")).to_contain_text("talks beneath another")


def test_what_was_said_is_listed_once_there_is_something(service: Service, opened: Opener) -> None:
    page = opened(viewport={"width": 390, "height": 844})
    panel = page.locator("#said")
    expect(panel).to_be_hidden()
    words = (Word(start=1.5, end=2, text="<b>good</b>", speaker=2), Word(start=2, end=2.5, text="morning", speaker=2))
    service.backend.tell(service.session.id, WordsHeard(since=0, until=3, words=words))
    expect(panel.locator("li")).to_have_text("0:01Speaker 2<b>good</b> morning")
    assert panel.bounding_box()["y"] > page.locator(".moods").bounding_box()["y"]
    service.backend.tell(service.session.id, SpeakerNamed(speaker=2, name="Anna"))
    expect(panel.locator("li")).to_have_text("0:01Anna<b>good</b> morning")
    service.backend.tell(service.session.id, WordsHeard(since=0, until=3, words=()))
    expect(panel).to_be_hidden()


def test_how_many_will_talk_goes_with_the_session(context: BrowserContext, backend: Backend, page_url: str) -> None:
    page = context.new_page()
    page.goto(page_url)
    wait(page, "d.state === 'ready'")
    declare(page)
    page.get_by_label("How many will talk?").select_option("3")
    page.get_by_role("button", name="Record", exact=True).click()
    wait(page, "d.recorder === 'recording' && d.role === 'recorder'")
    record = backend.record(page.url.split("session=")[1].split("#")[0])
    assert (record.min_speakers, record.max_speakers) == (3, 3)
    assert "Google" not in page.locator("#facts-text").inner_text()
