"""The second door in a real browser: one recording, while it is heard and once it was."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pipeline.session import NewSession
from tests.browser import until, wait
from tests.ui.recordings.service import Service, job, remember
from tests.ui.stage import Backend

pytestmark = pytest.mark.timeout(120)


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
