"""What the views draw, read from their sources: the same whether drawn at once or bit by bit."""

from __future__ import annotations

import random
from typing import Any

import pytest
from bokeh.models import ColumnDataSource, HoverTool

from pipeline.events import EmotionRead, Event, HopHeard, SpeakerNamed, SpeakersMerged, TurnUpdated, WordsHeard
from pipeline.timeline import EMOTIONS, UNSURE, Timeline, Turn, Word
from tests.ui.conversation import hops, reading
from ui.feed import Changes, fold
from ui.palette import DARK, LABELS, LIGHT, STACK
from ui.shares import people, percent, whole_cards
from ui.summary import beside, cards, clock, read_aloud, sentence
from ui.views.moods import LABEL_GAP, Moods, apart
from ui.views.probabilities import Probabilities
from ui.views.ribbons import EXCERPT, Ribbons, opacity
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


def lanes(ribbons: Ribbons) -> dict[float, str]:
    return {at: label.text for at, label in ribbons.figure.yaxis.major_label_overrides.items()}


def two_at_once() -> list[Event]:
    """Ten seconds of one person, two of which another talks beneath."""
    chance = random.Random(5)
    events: list[Event] = []
    for second in range(10):
        events.append(TurnUpdated(turn=Turn(id=0, speaker=1, start=0, end=second + 1, final=second == 9)))
        if 4 <= second < 6:
            beneath = Turn(id=1, speaker=2, start=4, end=second + 1, final=second == 5, second_voice=True)
            events.append(TurnUpdated(turn=beneath))
            # No reading should come of such a turn; if one does, it must not be anybody's.
            events.append(EmotionRead(reading=reading(1, second, second + 1, "angry", chance)))
        heard = reading(0, second, second + 1, "sad", chance)
        events.append(EmotionRead(reading=heard.model_copy(update={"mixed": 4 <= second < 6})))
        events.append(HopHeard(heard_until=second + 1, speech=True))
    return events


def told(events: list[Event], *views: Any) -> Timeline:
    """Draw events one by one."""
    timeline = Timeline()
    for event in events:
        changes = fold(event, timeline)
        for view in views:
            view.draw(timeline, changes, 1)
    return timeline


def test_where_two_talk_at_once_nobody_gets_an_emotion() -> None:
    grown, whole, probabilities, moods = Ribbons(Window()), Ribbons(Window()), Probabilities(Window()), Moods()
    timeline = told(two_at_once(), grown, probabilities)
    whole.draw(timeline, Changes(rewritten=True), 1)
    for bars in ("_bars", "_unsure", "_mixed", "_beneath", "_outlines"):
        assert columns(getattr(grown, bars).source) == columns(getattr(whole, bars).source)
    assert columns(grown._slices) == columns(whole._slices)

    assert list(grown._mixed.source.data["left"]) == [4.0]
    assert list(grown._mixed.source.data["right"]) == [6.0]
    (low,) = grown._beneath.source.data["top"]
    assert low < -1, "a turn beneath another lies in the lower half of its lane"
    assert list(grown._beneath.source.data["who"]) == ["Speaker 2"]
    assert list(grown._outlines.source.data["left"]) == [0.0]
    assert "angry" not in grown._bars.source.data["label"]
    assert grown._slices.data["left"] == [0, 1, 2, 3, 6, 7, 8, 9]

    assert 5 not in probabilities._source.data["at"], "the areas fall to zero while two talk"
    moods.draw(timeline, 1)
    assert moods._dots.data["name"] == ["Speaker 1"]


def test_who_talks_beneath_another_talks_but_sounds_like_nothing() -> None:
    timeline = told(two_at_once())
    first, second = cards(timeline)
    assert (first.label, first.seconds) == ("sad", 10)
    assert (second.label, second.seconds, second.probabilities) == ("", 2, [])
    assert second.sounds == "heard beneath others"
    assert second.share == pytest.approx(2 / 12)
    assert sentence([first, second]) == "Speaker 1 sounds sad."
    assert read_aloud(timeline.turns[1], timeline) == (
        "Speaker 2, 0:04 to 0:06: talks beneath another. Two talk at once: whose tone it is cannot be told."
    )
    assert read_aloud(timeline.turns[0], timeline) == "Speaker 1, 0:00 to 0:10: sounds sad."

    fold(SpeakersMerged(kept=1, merged=2), timeline)
    (only,) = cards(timeline)
    assert only.seconds == 10, "the same two seconds were counted twice"


def test_a_turn_that_turns_out_to_lie_beneath_another_is_drawn_anew() -> None:
    ribbons = Ribbons(Window())
    turn = Turn(id=0, speaker=1, start=0, end=2)
    events: list[Event] = [TurnUpdated(turn=turn), TurnUpdated(turn=turn.model_copy(update={"second_voice": True}))]
    told(events, ribbons)
    assert list(ribbons._outlines.source.data["left"]) == []
    assert list(ribbons._beneath.source.data["left"]) == [0.0]


def test_names_stand_wherever_a_number_stood() -> None:
    ribbons, moods = Ribbons(Window()), Moods()
    named = SpeakerNamed(speaker=1, name="Anna")
    long = SpeakerNamed(speaker=2, name="Katharina von Sonnenfeld")
    timeline = told([*two_at_once(), named, long], ribbons)
    moods.draw(timeline, 1)
    people = cards(timeline, recognised={2})
    assert [(card.name, card.given, card.recognised) for card in people] == [
        ("Anna", "Anna", False),
        ("Katharina von Sonnenfeld", "Katharina von Sonnenfeld", True),
    ]
    assert lanes(ribbons) == {0: "Anna", -1: "Katharina von…"}
    assert set(ribbons._slices.data["who"]) == {"Anna"}
    assert list(ribbons._beneath.source.data["who"]) == ["Katharina von Sonnenfeld"]
    assert moods._dots.data["name"] == ["Anna"]
    assert sentence(people) == "Anna sounds sad."
    assert read_aloud(timeline.turns[0], timeline).startswith("Anna, 0:00")

    fold(SpeakerNamed(speaker=1, name=""), timeline)
    ribbons.draw(timeline, Changes(rewritten=True), 1)
    assert lanes(ribbons)[0] == "Speaker 1"
    assert cards(timeline)[0].given == ""


def test_hovering_tells_the_words_of_a_turn() -> None:
    ribbons = Ribbons(Window())
    words = (Word(start=0, end=0.5, text="good", speaker=1), Word(start=0.5, end=1, text="morning", speaker=1))
    heard = WordsHeard(since=0, until=2, words=words)
    timeline = told([*two_at_once(), heard], ribbons)
    assert ribbons._said.data == {"turn": [0], "text": ["good morning"]}
    assert set(ribbons._slices.data["turn"]) == {0}
    assert read_aloud(timeline.turns[0], timeline).endswith(": sounds sad. Said: “good morning”")
    endless = words[0].model_copy(update={"text": "x" * 5_000})
    told([*two_at_once(), WordsHeard(since=0, until=2, words=(endless,))], ribbons)
    assert len(ribbons._said.data["text"][0]) == EXCERPT


def test_no_tooltip_takes_text_for_html() -> None:
    hovers = [tool for tool in Ribbons(Window()).figure.tools if isinstance(tool, HoverTool)]
    assert len(hovers) == 3
    assert not any("safe" in str(hover.tooltips) for hover in hovers)


def test_ribbons_drawn_bit_by_bit_are_those_drawn_at_once() -> None:
    grown, whole = Ribbons(Window()), Ribbons(Window())
    timeline = listen(SECONDS, grown)
    whole.draw(timeline, Changes(rewritten=True), 2)
    assert columns(grown._slices) == columns(whole._slices)
    assert columns(grown._bars.source) == columns(whole._bars.source)
    assert columns(grown._outlines.source) == columns(whole._outlines.source)
    assert len(grown._slices.data["left"]) == len(timeline.readings)
    assert lanes(grown) == {0: "Speaker 1", -1: "Speaker 2", -2: "Speaker 3"}


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


def test_cards_of_what_is_over_say_what_the_report_says() -> None:
    timeline = listen(SECONDS)
    told = {person.speaker: person for person in people(timeline)}
    for card, now in zip(whole_cards(timeline, {2}), cards(timeline, {2}), strict=True):
        person = told[card.speaker]
        most = max(share.share for share in person.shares if share.kind in LABELS)
        assert card.whole
        assert card.label == person.most
        assert (card.sounds, card.portion) == (f"mostly {person.most}", percent(most))
        assert sum(card.probabilities) == pytest.approx(1, abs=0.01)
        assert card.probabilities != now.probabilities
        assert (card.name, card.seconds, card.recognised) == (now.name, now.seconds, now.recognised)
    beneath = Timeline()
    for event in two_at_once():
        fold(event, beneath)
    alone, other = whole_cards(beneath)
    assert (alone.sounds, alone.portion) == ("mostly sad", "80\N{NO-BREAK SPACE}%"), "what was mixed is no sadness"
    assert (other.label, other.sounds, other.probabilities) == ("", "heard beneath others", [])
    assert whole_cards(Timeline()) == []


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
    assert beside(timeline, None, 1, at=second.start - 0.1) == second
    assert beside(timeline, last.id, 1, at=last.end) == last
    assert beside(timeline, None, -1, at=second.start + 0.5) == first, "it has only just begun"
    assert beside(timeline, None, -1, at=second.start + 1.5) == second
    assert beside(timeline, None, -1, at=0.0) == first
    silent = Timeline()
    silent.put(Turn(id=0, speaker=1, start=61, end=62))
    assert read_aloud(silent.turns[0], silent) == "Speaker 1, 1:01 to 1:02: nothing read yet."
    assert clock(3_599.9) == "59:59"
    assert clock(3_600) == "1:00:00"
    assert clock(37_230.5) == "10:20:30"
