"""What the views draw, read from their sources: the same whether drawn at once or bit by bit."""

from __future__ import annotations

from typing import Any

import pytest
from bokeh.models import ColumnDataSource

from pipeline.timeline import EMOTIONS, UNSURE, Timeline, Turn
from tests.ui.conversation import hops
from ui.feed import Changes, fold
from ui.palette import DARK, LABELS, LIGHT, STACK
from ui.summary import beside, cards, clock, read_aloud, sentence
from ui.views.moods import LABEL_GAP, Moods, apart
from ui.views.probabilities import Probabilities
from ui.views.ribbons import Ribbons, opacity
from ui.views.window import LONGEST, SHORTEST, Window

SECONDS = 60


def listen(seconds: float, *views: Any) -> Timeline:
    """Draw a conversation hop by hop."""
    timeline = Timeline()
    for hop in hops(seconds):
        changes = Changes()
        for event in hop:
            changes.add(fold(event, timeline))
        for view in views:
            view.draw(timeline, changes, 2)
    return timeline


def columns(source: ColumnDataSource) -> dict[str, list[Any]]:
    # NaN is not equal to itself, its words are.
    return {name: [str(value) for value in values] for name, values in source.data.items()}


def test_ribbons_drawn_bit_by_bit_are_those_drawn_at_once() -> None:
    grown, whole = Ribbons(Window()), Ribbons(Window())
    timeline = listen(SECONDS, grown)
    whole.draw(timeline, Changes(rewritten=True), 2)
    assert columns(grown._slices) == columns(whole._slices)
    assert columns(grown._bars.source) == columns(whole._bars.source)
    assert columns(grown._outlines.source) == columns(whole._outlines.source)
    assert len(grown._slices.data["left"]) == len(timeline.readings)
    assert grown.figure.yaxis.major_label_overrides == {0: "Speaker 1", -1: "Speaker 2", -2: "Speaker 3"}


def test_bars_cover_exactly_what_was_read() -> None:
    ribbons = Ribbons(Window())
    timeline = listen(180, ribbons)
    drawn = 0.0
    for bars in (ribbons._bars, ribbons._unsure):
        data = bars.source.data
        drawn += sum(right - left for left, right in zip(data["left"], data["right"], strict=True))
    assert drawn == pytest.approx(sum(reading.duration for reading in timeline.readings))
    assert set(ribbons._unsure.source.data["label"]) == {UNSURE}
    assert UNSURE not in ribbons._bars.source.data["label"]


def test_a_click_finds_the_lane() -> None:
    ribbons = Ribbons(Window())
    listen(SECONDS, ribbons)
    assert [ribbons.speaker_at(y) for y in (0.3, -1.2, -2.0, -3.0, 1.0)] == [1, 2, 3, None, None]


def test_probabilities_stream_what_a_fresh_view_would_show() -> None:
    grown, whole = Probabilities(Window()), Probabilities(Window())
    timeline = listen(SECONDS, grown)
    whole.draw(timeline, Changes(rewritten=True), 2)
    assert columns(grown._source) == columns(whole._source)
    sums = {round(sum(grown._source.data[e][row] for e in EMOTIONS), 6) for row in range(len(grown._source.data["at"]))}
    assert sums == {0.0, 1.0}, "one where the person speaks, nothing in the pauses"


def test_choosing_another_person_redraws() -> None:
    view = Probabilities(Window())
    timeline = listen(SECONDS, view)
    before = columns(view._source)
    view.draw(timeline, Changes(), 1)
    assert columns(view._source) != before
    view.draw(timeline, Changes(), None)
    assert view._source.data["at"] == []


def test_moods_show_the_last_minute_of_each_person() -> None:
    view = Moods()
    view.paint(LIGHT)
    timeline = listen(120)
    view.draw(timeline, 1)
    assert view._dots.data["name"] == ["Speaker 1", "Speaker 2", "Speaker 3"]
    assert all(-1 <= value <= 1 for axis in ("x", "y") for value in view._dots.data[axis])
    assert all(0 <= alpha <= 0.5 for alpha in view._trails.data["alpha"])


def test_names_stand_apart() -> None:
    placed = apart([0.0, 0.05, 0.02, 0.9])
    assert placed[0] == 0.0
    assert placed[3] == 0.9
    assert sorted(placed)[1] - sorted(placed)[0] >= LABEL_GAP
    assert sorted(placed)[2] - sorted(placed)[1] >= LABEL_GAP


def test_every_label_has_a_colour_in_both_themes() -> None:
    for palette in (LIGHT, DARK):
        assert len(palette.colours()) == len(LABELS)
        assert set(STACK) == set(EMOTIONS) == set(palette.emotions)


def test_opacity_grows_with_confidence_in_four_steps() -> None:
    steps = [opacity(hundredth / 100) for hundredth in range(101)]
    assert steps == sorted(steps)
    assert len(set(steps)) == 4
    assert steps[0] == pytest.approx(0.4)
    assert steps[-1] == pytest.approx(1.0)


def test_the_window_follows_until_someone_looks_elsewhere() -> None:
    window = Window()
    window.fit(10_000)
    window.move(600, ended=False)
    assert (window.range.start, window.range.end) == pytest.approx((600 - LONGEST * 0.96, 600 + LONGEST * 0.04))
    window.show(30, 40)
    window.move(601, ended=False)
    assert window.range.start <= 30 < 40 <= window.range.end
    window.mode = "follow"
    window.move(602, ended=True)
    assert (window.mode, window.range.start, window.range.end) == ("all", 0, 602)


def test_a_narrow_page_shows_less_time() -> None:
    window = Window()
    window.fit(100)
    window.move(1, ended=False)
    assert window.range.end - window.range.start == SHORTEST


def test_cards_say_who_sounds_how() -> None:
    timeline = listen(SECONDS)
    people = cards(timeline)
    assert [card.name for card in people] == ["Speaker 1", "Speaker 2", "Speaker 3"]
    assert sum(card.share for card in people) == pytest.approx(1)
    newest = timeline.readings_of(2)[-1]
    assert people[1].label == newest.label
    assert people[1].confidence == newest.confidence
    assert sentence(people).startswith("Speaker 1 sounds ")
    assert cards(Timeline()) == []
    assert sentence([]) == ""


def test_turns_can_be_walked_and_read_aloud() -> None:
    timeline = listen(SECONDS)
    first = beside(timeline, None, 1)
    assert first is not None
    assert read_aloud(first, timeline).startswith("Speaker 2, 0:01 to 0:07: mostly sounds ")
    second = beside(timeline, first.id, 1)
    assert second is not None
    assert beside(timeline, second.id, -1) == first == beside(timeline, first.id, -1)
    last = beside(timeline, None, -1)
    assert last is not None
    assert last == beside(timeline, last.id, 1)
    assert beside(Timeline(), None, 1) is None
    silent = Timeline()
    silent.put(Turn(id=0, speaker=1, start=61, end=62))
    assert read_aloud(silent.turns[0], silent) == "Speaker 1, 1:01 to 1:02: nothing read yet."
    assert clock(3_599.9) == "59:59"
