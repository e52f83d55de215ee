"""A report is one file: everything is in it, nothing in it is somebody's HTML, and it opens without a network."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from bokeh.resources import INLINE
from playwright.sync_api import Browser, Page

from pipeline.timeline import UNSURE, Timeline, Turn, Word
from tests.browser import until
from tests.ui.conversation import ended, hops, reading
from ui.coarse import coarse, from_afar
from ui.palette import DARK, LIGHT
from ui.report import CAVEAT, FAR_FROM, report
from ui.shares import MIXED, UNREAD, in_a_sentence, lasting, people, percent
from ui.views.places import place

FACTS = {"Purpose": "therapy", "Length": "1:00", "Model": "v1 <beta> & more"}
EVIL = "</script><img src=x onerror=alert(1)>&\"'"


def talk(seconds: float = 60) -> Timeline:
    """Three people, one named, somebody beneath another, and a transcript."""
    timeline = Timeline()
    for hop in hops(seconds):
        for event in hop:
            event.apply(timeline)
    ended(seconds).apply(timeline)
    timeline.name_speaker(1, "Anna")
    first = min(timeline.turns.values(), key=lambda turn: turn.start)
    timeline.put(Turn(id=9_000, speaker=3, start=first.start + 1, end=first.start + 2.5, final=True, second_voice=True))
    timeline.readings = [
        reading.as_mixed() if reading.overlap(first.start + 1, first.start + 2.5) else reading
        for reading in timeline.readings
    ]
    timeline.words = [Word(start=first.start, end=first.start + 0.4, text="hello", speaker=first.speaker)]
    return timeline


def long_talk(hours: float) -> Timeline:
    """Four people who take turns of 8 s, with two readings a second."""
    chance = random.Random(2)
    timeline = Timeline(heard_until=hours * 3_600, ended=True)
    moods = ("calm", "neutral", "sad", "happy", "")
    for number in range(int(hours * 3_600 / 8)):
        start = 8.0 * number
        timeline.put(Turn(id=number, speaker=number % 4 + 1, start=start, end=start + 8, final=True))
        for half in range(16):
            at = start + half / 2
            timeline.add(reading(number, at, at + 0.5, chance.choice(moods), chance))
    return timeline


class Outline(HTMLParser):
    """What a page is made of: its elements with their attributes, and its text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def drawing(html: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="drawing">(.*?)</script>', html, re.DOTALL)
    assert match
    found: dict[str, Any] = json.loads(match[1])
    return found


def test_it_tells_what_there_is_to_tell() -> None:
    page = Outline(report(talk(), "Tuesday", FACTS))
    words = " ".join(page.text.split())
    for told in ("Tuesday", "Purpose", "therapy", "v1 <beta> & more", CAVEAT, "Anna talked for", "hello", "Speaker 2"):
        assert told in words
    assert len(page.named("table")) == 3
    assert all(cell.get("scope") in ("col", "row") for cell in page.named("th"))
    assert [option["value"] for option in page.named("option")] == ["1", "2", "3"]
    plots = {attributes["data-plot"] for _, attributes in page.elements if "data-plot" in attributes}
    assert plots == {"ribbons-near", "person-1-near", "person-2-near", "person-3-near", "places"}
    labels = {attributes.get("aria-labelledby") for _, attributes in page.elements} - {None}
    assert labels <= {attributes.get("id") for _, attributes in page.elements}


def test_it_names_no_other_place() -> None:
    html = report(talk(), "Tuesday", FACTS)
    for script in INLINE.js_raw:
        html = html.replace(script, "")
    assert "BEGIN bokeh" not in html, "BokehJS was not found, so its addresses would be taken for the report's"
    assert "://" not in html
    for tag, attributes in Outline(html).elements:
        assert not {"src", "href", "action", "data", "poster"} & set(attributes), tag
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_text_is_never_html() -> None:
    plain, timeline = talk(), talk()
    for speaker in timeline.speakers:
        timeline.name_speaker(speaker, f"{EVIL}{speaker}")
        plain.name_speaker(speaker, f"plain{speaker}")
    timeline.words = [timeline.words[0].model_copy(update={"text": EVIL})]
    html = report(timeline, EVIL, {EVIL: EVIL})
    page = Outline(html)
    assert not page.named("img")
    expected = Outline(report(plain, "plain", {"plain": "plain"}))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in expected.elements]
    assert page.text.count(EVIL) > 8
    assert EVIL not in html
    assert drawing(html)["lanes"] == [1, 2, 3]


def test_both_themes_are_in_it() -> None:
    found = drawing(report(talk(), "Tuesday", FACTS))
    pairs = [pair for attributes in found["dress"].values() for pair in attributes.values()]
    assert [{"value": LIGHT.soft}, {"value": DARK.soft}] in pairs
    assert [LIGHT.colours(), DARK.colours()] in pairs
    assert [LIGHT.line, DARK.line] in pairs
    document = json.dumps(found["document"])
    for colour in (DARK.ink, DARK.soft, DARK.line, DARK.accent):
        assert colour not in document, "the document itself is in light"


def test_shares_add_up_to_the_time_talked() -> None:
    timeline = talk()
    timeline.put(Turn(id=9_001, speaker=1, start=100, end=110))
    everyone = people(timeline)
    for person in everyone:
        assert sum(share.share for share in person.shares) == pytest.approx(1)
        assert sum(share.seconds for share in person.shares) == pytest.approx(person.seconds)
    seconds = [{share.kind: share.seconds for share in person.shares} for person in everyone]
    assert seconds[0][UNREAD] == pytest.approx(10)
    assert seconds[2][MIXED] >= 1.5
    told = sum(one.duration for one in timeline.readings if one.label == UNSURE and not one.mixed)
    assert sum(one[UNSURE] for one in seconds) == pytest.approx(told)


def test_a_sentence_says_who_sounded_how() -> None:
    timeline = Timeline(names={1: "Anna"})
    chance = random.Random(0)
    timeline.put(Turn(id=0, speaker=1, start=0, end=60))
    timeline.put(Turn(id=1, speaker=2, start=60, end=100))
    timeline.put(Turn(id=2, speaker=3, start=0, end=20, second_voice=True))
    timeline.put(Turn(id=3, speaker=4, start=100, end=100.2))
    timeline.add(reading(0, 0, 60, "sad", chance))
    timeline.add(reading(1, 60, 100, "", chance).model_copy(update={"label": UNSURE}))
    assert in_a_sentence(people(timeline)).replace("\N{NO-BREAK SPACE}", " ") == (
        "Anna talked for 1 min (50 %) and most often sounded sad; "
        "Speaker 2 talked for 40 s (33 %) and was most often unsure to read; "
        "Speaker 3 talked for 20 s (17 %) and was only heard beneath others; "
        "Speaker 4 talked for 0 s (<1 %) and was not read."
    ).replace("<1", "< 1")
    assert in_a_sentence([]) == "Nobody was heard."
    assert lasting(3_725) == "1\N{NO-BREAK SPACE}h 2\N{NO-BREAK SPACE}min"
    assert (percent(0), percent(0.004)) == ("0\N{NO-BREAK SPACE}%", "<\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}%")


def test_a_place_is_the_middle_of_what_was_read() -> None:
    chance = random.Random(0)
    readings = [
        reading(0, at, at + 1, "sad", chance).model_copy(update={"valence": x, "arousal": y, "label": "sad"})
        for at, (x, y) in enumerate([(0.1, 0.2), (0.3, 0.2), (0.1, -0.2), (0.3, -0.2)] * 50)
    ]
    found = place(readings)
    assert found.middle == pytest.approx((0.2, 0))
    assert found.label == "sad"
    assert max(x for x, _ in found.outline) == pytest.approx(0.2 + 0.1 * 1.177, abs=0.01)
    assert max(y for _, y in found.outline) == pytest.approx(0.2 * 1.177, abs=0.01)
    assert not place(readings[:1]).outline


def test_a_long_recording_is_coarse_and_stays_true() -> None:
    timeline = long_talk(2)
    near, step = coarse(timeline, most=3_000)
    assert (len(near.readings) <= 3_000, step) == (True, 4)
    seconds = sum(one.duration for one in timeline.readings)
    assert sum(one.duration for one in near.readings) == pytest.approx(seconds)
    assert all(abs(sum(one.probabilities) - 1) < 0.01 for one in near.readings)
    assert coarse(talk())[1] == 0
    far, step = from_afar(timeline)
    assert step == 30
    assert far.speakers == timeline.speakers
    assert all(one.end - one.start == step for one in far.readings)
    assert sum(one.heard for one in far.readings) == pytest.approx(seconds)


def test_who_was_only_heard_beneath_others_keeps_a_lane_from_afar() -> None:
    timeline = talk()
    timeline.put(Turn(id=9_002, speaker=7, start=2, end=3, second_voice=True))
    far, _ = from_afar(timeline)
    assert far.speakers == timeline.speakers


@pytest.mark.slow
def test_four_hours_fit() -> None:
    timeline = long_talk(4)
    html = report(timeline, "Long", FACTS)
    assert len(html.encode()) < 15_000_000
    assert "in steps of" in html
    assert drawing(html)["far"] == FAR_FROM


@pytest.mark.parametrize("timeline", [Timeline(), Timeline(turns={0: Turn(id=0, speaker=1, start=0, end=0.2)})])
def test_little_or_nothing_is_a_report_too(timeline: Timeline) -> None:
    page = Outline(report(timeline, "", {}))
    assert ("Nobody was heard." in page.text) == (not timeline.turns)
    assert not page.named("select")


# In a browser without a network

INKED = """
[...document.querySelectorAll("[data-plot]:not([hidden])")].map(plot => {
  const found = []
  const walk = node => {
    if (node instanceof HTMLCanvasElement) found.push(node)
    for (const child of [...node.children ?? [], ...node.shadowRoot?.children ?? []]) walk(child)
  }
  walk(plot)
  const inked = canvas => {
    const {width, height} = canvas
    if (!width || !height) return false
    const copy = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true})
    copy.drawImage(canvas, 0, 0)
    return copy.getImageData(0, 0, width, height).data.some(Boolean)
  }
  return [plot.dataset.plot, found.some(inked)]
})
"""


@contextmanager
def opened(browser: Browser, path: Path, html: str, **how: Any) -> Iterator[Page]:
    """The report from disk, with the network off; what it asks for or complains of fails the test."""
    path.write_text(html, encoding="utf-8")
    context = browser.new_context(offline=True, **how)
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda said: trouble.append(said.text) if said.type in ("error", "warning") else None)
    page.on("request", lambda asked: trouble.append(asked.url) if asked.url != path.as_uri() else None)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]")
    page.wait_for_timeout(300)
    yield page
    assert trouble == []
    context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1360), ("dark", 390)])
def test_it_opens_without_a_network(browser: Browser, tmp_path: Path, scheme: Any, width: int) -> None:
    timeline = talk()
    timeline.name_speaker(2, "$$x$$ \\(y\\) <b>")
    size = {"width": width, "height": 900}
    html = report(timeline, EVIL, FACTS)
    with opened(browser, tmp_path / "talk.html", html, color_scheme=scheme, viewport=size) as page:
        assert dict(page.evaluate(INKED)) == {"ribbons-near": True, "person-1-near": True, "places": True}
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it can be scrolled sideways"
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        page.get_by_role("combobox", name="One person").select_option("2")
        page.wait_for_timeout(300)
        assert dict(page.evaluate(INKED)) == {"ribbons-near": True, "person-2-near": True, "places": True}
        page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
        until(page, f"document.documentElement.dataset.theme !== '{scheme}'")
        page.locator("[data-plot=ribbons-near]").hover()
        page.get_by_role("button", name="Zoom in").click()
        page.locator("[data-plot=ribbons-near]").click(position={"x": width // 3, "y": 40})
        until(page, "document.getElementById('who').value === '1'")
        page.wait_for_timeout(200)


@pytest.mark.slow
def test_from_close_a_long_recording_shows_its_turns(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, tmp_path / "long.html", report(long_talk(1), "Long", FACTS)) as page:
        assert "ribbons-far" in dict(page.evaluate(INKED))
        for _ in range(2):
            page.get_by_role("button", name="Zoom in").click()
        page.wait_for_timeout(500)
        assert dict(page.evaluate(INKED)) == {"ribbons-near": True, "person-1-near": True, "places": True}
        page.get_by_role("button", name="All").click()
        page.wait_for_timeout(300)
        assert "ribbons-far" in dict(page.evaluate(INKED))


def test_on_paper_the_plots_are_pictures_in_light(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, tmp_path / "talk.html", report(talk(), "Tuesday", FACTS), color_scheme="dark") as page:
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        pictures = page.locator("img.paper")
        assert pictures.count() == 3
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert pictures.count() == 0
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
