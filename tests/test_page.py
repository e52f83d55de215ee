"""People talk into the page, and the plot moves: all of it, in a real Chromium whose microphone plays a talk."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser import declare, talking_browser, until, wait
from tests.deployments.test_speakers import alone
from tests.service import Pcm, Service
from tests.talkers import LOW, Said, write_wav
from training.simulate import SimulationSettings, read_recordings, simulate

pytestmark = pytest.mark.timeout(240)

# How many slices and points the ribbons and the probabilities hold, as the browser has them.
PLOTTED = """() => ["ribbons", "probabilities"].map(name => Bokeh.documents[0].get_model_by_name(name).renderers
  .reduce((sum, renderer) => sum + (renderer.data_source?.get_length?.() ?? 0), 0))"""


def begin(page: Page, url: str, low_bandwidth: bool = False) -> None:
    page.goto(url)
    wait(page, "d.state === 'ready'", 30)
    declare(page)
    if low_bandwidth:
        page.get_by_label("low bandwidth").check()
    page.get_by_role("button", name="Record", exact=True).click()
    wait(page, "d.recorder === 'recording'", 20)


def two_voices(corpora: Path) -> tuple[np.ndarray, float]:
    """A simulated conversation of two people, and the second at which both have spoken."""
    voices = read_recordings(corpora / "librispeech")
    pair = {speaker: voices[speaker] for speaker in sorted(voices)[:2]}
    talk = simulate(pair, seed=3, settings=SimulationSettings(seconds=24))
    first = {turn.speaker: turn.start for turn in reversed(talk.turns)}
    return talk.audio, max(first.values())


@pytest.fixture
def small_wav(tmp_path: Path, small_conversation: tuple[Pcm, list[Said]]) -> Path:
    return write_wav(tmp_path / "talkers.wav", small_conversation[0].astype(np.float32) / 32_768)


@pytest.mark.slow
def test_two_recorded_people_appear_while_they_speak(
    service: Service, chromium: str, corpora: Path, tmp_path: Path
) -> None:
    audio, both_have_spoken = two_voices(corpora)
    wav = write_wav(tmp_path / "conversation.wav", audio)
    with talking_browser(chromium, wav) as browser:
        page = browser.new_page()
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        begin(page, service.page)
        wait(page, "d.readings >= 1", 15)
        expect(page.locator("#meter")).not_to_have_attribute("aria-valuenow", "0")
        wait(page, "d.speakers >= 2", both_have_spoken + 12)
        ribbons, probabilities = page.evaluate(PLOTTED)
        until(page, f"({PLOTTED})()[0] > {ribbons}", 20)
        until(page, f"({PLOTTED})()[1] > {probabilities}", 20)
        expect(page.locator("#cards")).to_contain_text("Speaker 2")
        expect(page.locator("#behind")).to_contain_text("s behind")
        page.get_by_role("button", name="Stop recording").click()
        wait(page, "d.state === 'ended' && d.recorder === 'stopped'", 20)
        viewer = browser.new_context().new_page()
        viewer.goto(page.url)
        readings = page.evaluate("document.documentElement.dataset.readings")
        wait(viewer, f"d.role === 'viewer' && d.state === 'ended' && d.readings === '{readings}'", 20)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download JSON").click()
        told = json.loads(Path(download.value.path()).read_text())
        assert told["ended"]
        assert len(told["readings"]) == int(readings)
        assert not troubles


@pytest.mark.parametrize(
    "low_bandwidth", [pytest.param(False, id="pcm16"), pytest.param(True, id="webm", marks=pytest.mark.slow)]
)
def test_two_talkers_appear_and_the_line_heals(
    service: Service, chromium: str, small_wav: Path, low_bandwidth: bool
) -> None:
    with talking_browser(chromium, small_wav) as browser:
        context = browser.new_context()
        page = context.new_page()
        page.add_init_script(
            # A line that a test can cut: the page's sockets, as they are opened.
            "window.lines = []; window.WebSocket = class extends WebSocket {"
            " constructor(...given) { super(...given); lines.push(this) } }"
        )
        begin(page, service.page, low_bandwidth)
        wait(page, "d.speakers >= 2", 30)
        page.evaluate("lines.filter(line => line.url.includes('/audio')).at(-1).close()")
        readings = int(page.evaluate("document.documentElement.dataset.readings"))
        wait(page, f"d.recorder === 'recording' && d.readings > {readings + 3}", 20)
        page.get_by_role("button", name="Stop recording").click()
        wait(page, "d.state === 'ended' && d.recorder === 'stopped'", 20)
        assert page.evaluate("lines.filter(line => line.url.includes('/audio')).length") == 2


def test_whoever_enrols_their_voice_is_called_by_their_name(service: Service, chromium: str, tmp_path: Path) -> None:
    """Live, and in a recording that is uploaded."""
    anna = alone(tmp_path, LOW, 20)
    with talking_browser(chromium, anna) as browser:
        page = browser.new_page()
        page.goto(service.page)
        wait(page, "d.state === 'ready'", 30)
        page.get_by_text("Call people by name").click()
        page.get_by_role("button", name="Enrol a voice").click()
        page.get_by_label("Your name").fill("Anna")
        page.get_by_label("I speak for myself").check()
        page.get_by_role("button", name="Speak").click()
        expect(page.get_by_role("checkbox", name="Anna")).to_be_checked(timeout=60_000)
        declare(page)
        page.locator("#files").set_input_files(anna)
        page.get_by_role("button", name="Upload", exact=True).click()
        until(page, "document.querySelector('#recordings > li')?.dataset.state === 'done'", 90)
        page.get_by_role("link", name="low.wav").click()
        expect(page.locator("#cards")).to_contain_text("Anna", timeout=20_000)
        page.get_by_role("link", name="All recordings").click()
        page.get_by_role("checkbox", name="Anna").check()
        declare(page)
        page.get_by_role("button", name="Record", exact=True).click()
        expect(page.locator("#cards")).to_contain_text("Anna", timeout=60_000)
        expect(page.locator("#cards")).to_contain_text("recognised by voice")
        page.get_by_role("button", name="Stop recording").click()
        wait(page, "d.state === 'ended' && d.recorder === 'stopped'", 20)
        page.goto(service.page)
        page.get_by_text("Call people by name").click()
        page.get_by_role("button", name="Erase the voice of Anna").click()
        page.get_by_role("button", name="Erase", exact=True).click()
        expect(page.locator("#known-told")).to_have_text("The voice of Anna is erased.")


def test_somebody_is_given_a_name_where_they_are_heard(service: Service, chromium: str, small_wav: Path) -> None:
    with talking_browser(chromium, small_wav) as browser:
        page = browser.new_page()
        begin(page, service.page)
        wait(page, "d.speakers >= 1", 30)
        page.get_by_role("button", name="Rename Speaker 1").click()
        page.get_by_label("Name of speaker 1").fill("Anna")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#cards > li").filter(has_text="Anna")).to_have_count(1)
        expect(page.locator("#corrected")).to_have_text("Speaker 1 is now called Anna.")
        expect(page.get_by_role("button", name="Rename Anna")).to_be_visible()
        page.get_by_role("button", name="Stop recording").click()
        wait(page, "d.state === 'ended' && d.recorder === 'stopped'", 20)
        link = urlsplit(page.url)
    (session,) = parse_qs(link.query)["session"]
    headers = {"Authorization": f"Bearer {link.fragment}"}
    timeline = httpx.get(f"{service.api}/v1/sessions/{session}", headers=headers).json()
    assert timeline["names"] == {"1": "Anna"}
