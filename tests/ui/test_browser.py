"""The page in a real browser, with a real microphone path: recording, a broken line, watching, what can go wrong."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pydantic import SecretStr

from tests.browser import declare, until, wait
from tests.service import free_port, running_redis
from tests.ui.stage import Backend, running_page
from ui.settings import PageSettings

pytestmark = pytest.mark.timeout(180)
SAMPLES_PER_FRAME = 8_000
BRIDGE = "Bokeh.documents[0].get_model_by_name('bridge')"


def record(page: Page, url: str) -> None:
    """Open the page and start to record."""
    page.goto(url)
    wait(page, "d.state === 'ready'")
    page.get_by_label("Name of the session").fill("Sunday")
    declare(page)
    page.get_by_role("button", name="Record", exact=True).click()


def test_record_lose_the_line_stop_and_watch(
    context: BrowserContext, browser: Browser, backend: Backend, page_url: str
) -> None:
    backend.drop_at = 9
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    answer = page.goto(page_url)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert policy.endswith("frame-ancestors 'self'")
    assert answer.headers["permissions-policy"].startswith("microphone=(self),")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    wait(page, "d.state === 'ready'")
    button = page.locator("#record")
    expect(button).to_be_disabled()
    expect(page.get_by_text("First choose a purpose and confirm that everyone has agreed.")).to_be_visible()
    declare(page)
    page.get_by_label("Name of the session").fill("<img src=x onerror=alert(1)> & co")
    expect(button).to_be_enabled()
    page.get_by_label("Everyone who will be heard has agreed").focus()
    page.keyboard.press("Space")
    expect(button).to_be_disabled()
    page.keyboard.press("Space")
    expect(button).to_be_focused()
    page.keyboard.press("Space")  # the box is ticked, and the hint says that this key records

    wait(page, "d.recorder === 'recording' && d.state === 'live' && d.speakers >= 1 && d.readings >= 3", 40)
    expect(page.locator("#meter")).to_have_attribute("aria-valuenow", re.compile(r"[1-9]\d*"))
    expect(page.locator("#title")).to_have_text("<img src=x onerror=alert(1)> & co")
    expect(page.locator("#behind")).to_contain_text("s behind")
    expect(page.locator(".who").filter(has_text="Speaker 2")).to_contain_text("% of the talk")
    wait(page, "d.speakers >= 2", 40)
    page.get_by_role("button", name="Stop recording").click()
    wait(page, "d.state === 'ended' && d.recorder === 'stopped'")

    assert len(backend.hellos) == 2, "the line broke once and came back once"
    assert backend.hellos[0]["recorder"] == backend.hellos[1]["recorder"], "both lines are the same recorder's"
    assert re.fullmatch(r"[0-9a-f]{32}", backend.hellos[0]["recorder"])
    assert backend.hellos[0] | {"key": "", "recorder": ""} == {
        "type": "hello",
        "protocol": 1,
        "key": "",
        "codec": "pcm16",
        "recorder": "",
        "sample_rate": 16_000,
        "channels": 1,
    }
    assert backend.order == list(range(len(backend.order))), "every frame once and in order, the lost one included"
    sizes = {len(payload) for payload in list(backend.frames.values())[:-1]}
    assert sizes == {2 * SAMPLES_PER_FRAME}
    assert loudest(backend.frames[5]) > 1_000, "the microphone's sound is in the frames"
    assert "#" in page.url
    assert backend.hellos[0]["key"] not in page.url

    watch(browser, page.url, readings=page.evaluate("document.documentElement.dataset.readings"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    told = json.loads(Path(download.value.path()).read_text())
    assert told["ended"]
    assert told["session"]["purpose"] == "research"
    assert len(told["readings"]) == int(page.evaluate("document.documentElement.dataset.readings"))
    assert told["speakers"] == [1, 2]
    assert [turn["start"] for turn in told["turns"]] == sorted(turn["start"] for turn in told["turns"])
    look_closer_and_back(page)
    until(page, f"document.getElementById('summary').textContent === {BRIDGE}.summary", 15)
    assert not troubles


def look_closer_and_back(page: Page) -> None:
    """After the end, the way back from a closer look is in sight for as long as it is needed."""
    page.evaluate(f"{BRIDGE}.command = JSON.stringify({{n: 1000, ask: 'view', mode: 'follow'}})")
    page.get_by_role("button", name="All", exact=True).click()
    expect(page.locator("#view")).to_be_hidden()


def watch(browser: Browser, link: str, readings: str) -> None:
    """Whoever opens the link later sees the whole past, and can change nothing."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    wait(page, f"d.role === 'viewer' && d.state === 'ended' && d.readings === '{readings}'")
    expect(page.locator("#record")).to_be_disabled()
    expect(page.get_by_role("button", name="Erase now")).to_be_hidden()
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#turn")).to_contain_text("Speaker 2, 0:01 to")
    context.close()


def loudest(payload: bytes) -> int:
    return max(abs(sample) for (sample,) in struct.iter_unpack("<h", payload))


def test_reload_goes_on_in_the_same_session_and_erase_ends_it(
    context: BrowserContext, backend: Backend, page_url: str
) -> None:
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    record(page, page_url)
    wait(page, "d.readings >= 1", 30)
    page.reload()
    wait(page, "d.role === 'recorder' && d.readings >= 1")
    frames = len(backend.frames)
    page.get_by_role("button", name="Continue recording").click()
    wait(page, "d.recorder === 'recording'")
    page.wait_for_timeout(1_500)
    assert len(backend.frames) > frames
    assert backend.order == list(range(len(backend.order)))

    until(page, "document.title.startsWith('Sunday')")
    for refusal, told in (
        ((503, {"detail": "The store is away."}), "This session could not be erased. The store is away."),
        (None, "This session has been erased. Nothing of it is left."),
    ):
        backend.refusal = refusal
        page.get_by_role("button", name="Erase now").click()
        page.get_by_role("button", name="Erase", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text(told)
    wait(page, "d.state === 'erased' && d.recorder === 'idle'")
    assert page.title() == "ToneTrack"
    expect(page.locator("#title")).to_be_empty()


@pytest.mark.slow
def test_what_was_said_before_the_microphone_was_unplugged_is_sent_later(
    context: BrowserContext, backend: Backend, page_url: str
) -> None:
    """Unplugging it while the line was down threw away everything that was not acknowledged."""
    page = context.new_page()
    page.add_init_script(
        "const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        "navigator.mediaDevices.getUserMedia = async (wanted) => {"
        " const stream = await ask(wanted); window.track = stream.getAudioTracks()[0]; return stream }"
    )
    record(page, page_url)
    wait(page, "d.readings >= 1", 30)
    lose_the_line(page, backend)
    page.wait_for_timeout(1_500)
    page.evaluate("track.onended()")
    wait(page, "d.recorder === 'paused'")
    expect(page.get_by_role("alert")).to_contain_text("s are kept to be sent")
    got = len(backend.frames)
    backend.refuse = None
    expect(page.get_by_role("alert")).not_to_contain_text("kept to be sent", timeout=10_000)
    assert len(backend.frames) >= got + 4

    page.get_by_role("button", name="Continue recording").click()
    wait(page, "d.recorder === 'recording'")
    lose_the_line(page, backend)
    page.get_by_role("button", name="Stop recording").click()
    expect(page.get_by_role("alert")).to_contain_text("What was said is still being sent")
    backend.refuse = None
    wait(page, "d.recorder === 'stopped' && d.state === 'ended'")
    assert set(backend.order) == set(range(len(backend.order))), "no frame is missing"
    assert len({hello["recorder"] for hello in backend.hellos}) == 1


def lose_the_line(page: Page, backend: Backend) -> None:
    """Break it, and let nobody in until `refuse` is taken back."""
    backend.refuse = (1012, "restarting")
    backend.drop_at = len(backend.frames) + 3
    wait(page, "d.recorder === 'reconnecting'")


@pytest.mark.slow
def test_a_link_opens_by_itself_once_the_store_is_back(
    context: BrowserContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page said "Loading" for ever and nothing else."""
    with running_redis(tmp_path) as away:
        port = int(away.split(":")[2].split("/")[0])
    settings = PageSettings(redis_url=SecretStr(away), ui_port=free_port())
    page = context.new_page()
    with running_page(settings) as url:
        page.goto(f"{url}/?session=0123456789abcdef#key")
        expect(page.get_by_role("alert")).to_contain_text("The page tries again by itself.", timeout=15_000)
        monkeypatch.setattr("tests.service.free_port", lambda: port)
        with running_redis(tmp_path):
            expect(page.get_by_role("alert")).to_contain_text("There is no such session", timeout=15_000)


@pytest.mark.slow
def test_page_server_goes_away_and_comes_back_while_recording(
    context: BrowserContext, backend: Backend, redis_url: str
) -> None:
    settings = PageSettings(redis_url=SecretStr(redis_url), ui_port=free_port(), port=backend.port)
    page = context.new_page()
    with running_page(settings) as url:
        record(page, url)
        wait(page, "d.readings >= 1", 30)
    wait(page, "d.state === 'reconnecting' && d.recorder === 'recording'")
    expect(page.get_by_role("alert")).to_contain_text("The page comes back by itself")
    readings = int(page.evaluate("document.documentElement.dataset.readings"))
    with running_page(settings):
        wait(page, f"d.state === 'live' && d.recorder === 'recording' && d.readings > {readings}", 30)
        assert len(backend.hellos) == 1, "the recorder's own line has not been touched"
        expect(page.locator("[data-plot=ribbons] .bk-Figure")).to_have_count(1)
        page.get_by_role("button", name="Stop recording").click()
        wait(page, "d.state === 'ended'")


def test_low_bandwidth_sends_one_webm_stream(context: BrowserContext, backend: Backend, page_url: str) -> None:
    page = context.new_page()
    page.goto(page_url)
    wait(page, "d.state === 'ready'")
    declare(page)
    page.get_by_label("low bandwidth").check()
    page.get_by_role("button", name="Record", exact=True).click()
    wait(page, "d.readings >= 1", 30)
    page.get_by_role("button", name="Stop recording").click()
    wait(page, "d.state === 'ended'")
    assert backend.hellos[0]["codec"] == "webm"
    assert "sample_rate" not in backend.hellos[0]
    assert backend.frames[0][:4] == b"\x1a\x45\xdf\xa3", "the stream begins as EBML does"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (4409, "Another device or tab has taken over the recording."),
        (4410, "This session has been ended"),
        (4415, "The server cannot decode what this browser sends."),
        (1013, "The server is full at the moment."),
    ],
)
def test_each_refusal_has_its_sentence(
    context: BrowserContext, backend: Backend, page_url: str, code: int, sentence: str
) -> None:
    backend.refuse = (code, "no")
    page = context.new_page()
    record(page, page_url)
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    if code == 1013:
        backend.refuse = None
        wait(page, "d.recorder === 'recording' && d.state === 'live'")
        assert backend.order == list(range(len(backend.order))), "what was said while waiting has come too"


def test_microphone_refused(browser: Browser, page_url: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"
    )
    record(page, page_url)
    expect(page.get_by_role("alert")).to_contain_text("The browser did not allow the microphone.")
    assert "session=" not in page.url, "nothing was created for a recording that never began"
    context.close()


def test_who_agrees_knows_who_else_will_hear_it(
    context: BrowserContext, backend: Backend, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONETRACK_DIARISER", "google")
    sentence = "Sound is sent to Google to tell the speakers apart."
    page = context.new_page()
    settings = PageSettings(redis_url=SecretStr(redis_url), ui_port=free_port(), port=backend.port)
    with running_page(settings) as url:
        page.goto(url)
        expect(page.locator("#setup")).to_contain_text(sentence)
        session = backend.held(5)
        page.goto(f"{url}/?session={session.id}#{session.viewer_key}")
        expect(page.locator("#facts-text")).to_contain_text(sentence)


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ("?session=0123456789abcdef#whatever", "There is no such session"),
        ("?session={id}#wrong", "key does not fit"),
        ("?session={id}#%E0%A4%A", "key does not fit"),  # cut off within a character
    ],
)
def test_links_that_open_nothing(
    context: BrowserContext, backend: Backend, page_url: str, link: str, sentence: str
) -> None:
    page = context.new_page()
    record(page, page_url)
    wait(page, "d.state !== 'ready'")
    session = page.url.split("session=")[1].split("#")[0]
    stranger = context.new_page()
    stranger.goto(f"{page_url}/{link.format(id=session)}")
    expect(stranger.get_by_role("alert")).to_contain_text(sentence)
