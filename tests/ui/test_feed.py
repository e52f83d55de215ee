"""Events fold into one timeline, and the changes say no more and no less than what a view must draw."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.events import (
    EmotionRead,
    Event,
    HopHeard,
    SpeakerNamed,
    SpeakersMerged,
    TurnUpdated,
    Warned,
    WordsHeard,
)
from pipeline.session import SessionRequest
from pipeline.store import SessionStore, connect
from pipeline.timeline import Timeline, Turn, Word
from tests.service import running_redis
from tests.ui.conversation import ended, hops, reading
from ui.feed import WARNING_SECONDS, Changes, Feed, Hub, fold, recognised_after
from ui.settings import PageSettings


def all_events(seconds: float) -> list[Event]:
    return [event for hop in hops(seconds) for event in hop]


def test_a_growing_turn_and_its_readings_are_small_changes() -> None:
    timeline = Timeline()
    turn = Turn(id=0, speaker=1, start=0, end=1)
    assert fold(TurnUpdated(turn=turn), timeline) == Changes(turns={0})
    heard = EmotionRead(reading=reading(0, 0, 1, "sad", random.Random(1)))
    assert fold(heard, timeline) == Changes(readings=[heard.reading])
    grown = turn.model_copy(update={"end": 2.0})
    assert fold(TurnUpdated(turn=grown), timeline) == Changes(turns={0})
    assert fold(HopHeard(speech=True), timeline) == Changes()


def test_a_reading_that_is_told_again_rewrites_the_past() -> None:
    timeline = Timeline()
    first = reading(0, 0, 1, "sad", random.Random(1))
    fold(EmotionRead(reading=first), timeline)
    assert fold(EmotionRead(reading=first.as_mixed()), timeline) == Changes(rewritten=True)
    assert timeline.readings == [first.as_mixed()]


def test_a_turn_that_changes_its_speaker_rewrites_the_past() -> None:
    timeline = Timeline()
    fold(TurnUpdated(turn=Turn(id=0, speaker=1, start=0, end=1)), timeline)
    assert fold(TurnUpdated(turn=Turn(id=0, speaker=2, start=0, end=1)), timeline).rewritten


def test_a_reading_before_its_turn_is_drawn_once_the_turn_is_known() -> None:
    timeline = Timeline()
    fold(EmotionRead(reading=reading(5, 0, 1, "sad", random.Random(1))), timeline)
    assert fold(TurnUpdated(turn=Turn(id=5, speaker=1, start=0, end=1)), timeline).rewritten


def test_merging_and_revising_rewrite_the_past() -> None:
    timeline = Timeline()
    rewritten = [type(event).__name__ for event in all_events(60) if fold(event, timeline).rewritten]
    assert rewritten == ["SpeakersMerged", "TurnRevised"]
    assert timeline.speakers == [1, 2, 3]


def test_a_name_is_drawn_everywhere_and_words_only_where_they_are_read() -> None:
    timeline = Timeline()
    assert fold(SpeakerNamed(speaker=1, name="Anna"), timeline) == Changes(rewritten=True)
    heard = WordsHeard(since=0, until=1, words=(Word(start=0, end=1, text="so"),))
    assert fold(heard, timeline) == Changes(words=True)
    assert timeline.name_of(1) == "Anna"


def test_a_turn_that_turns_out_to_begin_elsewhere_or_beneath_another_rewrites_the_past() -> None:
    timeline = Timeline()
    turn = Turn(id=0, speaker=1, start=1, end=2)
    fold(TurnUpdated(turn=turn), timeline)
    assert fold(TurnUpdated(turn=turn.model_copy(update={"start": 0.5})), timeline).rewritten
    assert fold(TurnUpdated(turn=turn.model_copy(update={"start": 0.5, "second_voice": True})), timeline).rewritten


def test_whoever_was_merged_is_found_under_the_new_number() -> None:
    timeline = Timeline()
    changes = fold(SpeakersMerged(kept=2, merged=4), timeline)
    changes.add(fold(SpeakersMerged(kept=1, merged=2), timeline))
    assert [changes.now_called(speaker) for speaker in (1, 2, 3, 4, None)] == [1, 1, 3, 1, None]


@pytest.mark.parametrize(
    ("events", "recognised"),
    [
        ([SpeakerNamed(speaker=1, name="Anna", by="voice")], {1}),
        ([SpeakerNamed(speaker=1, name="Anna")], set()),
        ([SpeakerNamed(speaker=1, name="Anna", by="voice"), SpeakerNamed(speaker=1, name="Anne")], set()),
        ([SpeakerNamed(speaker=1, name="Anna", by="voice"), SpeakerNamed(speaker=1, name="", by="voice")], set()),
        ([SpeakerNamed(speaker=2, name="Anna", by="voice"), SpeakersMerged(kept=1, merged=2)], {1}),
        (
            [
                SpeakerNamed(speaker=1, name="Berta"),
                SpeakerNamed(speaker=2, name="Anna", by="voice"),
                SpeakersMerged(kept=1, merged=2),
            ],
            set(),
        ),
    ],
)
def test_a_name_is_a_voices_until_somebody_says_otherwise(events: list[Event], recognised: set[int]) -> None:
    timeline, known = Timeline(), frozenset[int]()
    for event in events:
        known = recognised_after(event, timeline, known)
        event.apply(timeline)
    assert known == recognised


def test_joined_changes_keep_everything() -> None:
    changes = Changes(turns={1})
    changes.add(Changes(turns={2}, rewritten=True))
    changes.add(Changes())
    assert changes == Changes(turns={1, 2}, rewritten=True)


@pytest.fixture
def settings(tmp_path: Path) -> object:
    with running_redis(tmp_path) as url:
        yield PageSettings(redis_url=SecretStr(url))


async def until(condition: object, seconds: float = 5) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.02)


async def test_a_warning_hides_no_other_but_the_one_that_it_makes_untrue(
    settings: PageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = connect(settings.redis_url.get_secret_value())
    feed = Feed(SessionStore(redis, retention=60), "any")
    now = time.time()

    def warn(code: str, message: str, after: float) -> None:
        feed.fold([Warned(code=code, message=message, published_at=now + after)])

    warn("stuck", "It halts.", 0)
    warn("estranged", "Others.", 1)
    warn("outdated_voices", "One.", 2)
    warn("resumed", "It goes on.", 3)
    assert feed.warning == "Others. One. It goes on."
    warn("outdated_voices", "Two.", 4)
    warn("stuck", "It halts.", 5)
    assert feed.warning == "Others. Two. It halts."
    monkeypatch.setattr("ui.feed.time.time", lambda: now + 3 + WARNING_SECONDS)
    assert feed.warning == "Two. It halts."
    feed.forget()
    assert feed.warning == ""
    await redis.aclose()


async def test_one_reader_serves_all_documents_and_late_ones_see_the_past(settings: PageSettings) -> None:
    hub = Hub(settings)
    redis = connect(settings.redis_url.get_secret_value())
    store = SessionStore(redis, retention=60)
    session = (await store.create(SessionRequest(purpose="research", consent=True))).id
    first: list[Changes] = []
    feed = hub.join(session, first.append)
    await store.publish(session, 1, all_events(20))
    await until(lambda: feed.timeline.heard_until == 20)
    assert sum(len(changes.readings) for changes in first) == len(feed.timeline.readings) > 10

    second: list[Changes] = []
    assert hub.join(session, second.append) is feed
    assert feed.timeline.readings, "a late viewer starts from the whole past"
    await store.publish(session, 2, [Warned(code="slow", message="It is slow."), ended(20)])
    await until(lambda: feed.timeline.ended)
    assert feed.warning == "It is slow."
    assert not feed.live
    assert second

    hub.leave(feed, first.append)
    hub.leave(feed, second.append)
    assert hub.join(session, first.append) is not feed, "the last to leave stopped the reader"
    await hub.close()
    await redis.aclose()


async def test_corrections_after_the_end_reach_pages_that_are_open_and_those_that_open_later(
    settings: PageSettings,
) -> None:
    hub = Hub(settings)
    redis = connect(settings.redis_url.get_secret_value())
    store = SessionStore(redis, retention=60)
    session = (await store.create(SessionRequest(purpose="research", consent=True))).id
    await store.publish(session, 1, [*all_events(20), ended(20)])
    heard: list[Changes] = []
    feed = hub.join(session, heard.append)
    await until(lambda: feed.timeline.ended)
    await store.publish(session, 2, [SpeakerNamed(speaker=2, name="Anna", by="voice")])
    await until(lambda: feed.timeline.names == {2: "Anna"})
    assert feed.recognised == {2}
    await store.publish(session, 3, [SpeakersMerged(kept=2, merged=1)])
    await until(lambda: feed.timeline.speakers == [2])
    assert heard[-1].merged == {1: 2}
    assert feed.timeline.ended

    hub.leave(feed, heard.append)
    late = hub.join(session, heard.append)
    await until(lambda: late.timeline.ended)
    assert (late.timeline.names, late.timeline.speakers, late.recognised) == ({2: "Anna"}, [2], {2})
    await hub.close()
    await redis.aclose()


async def test_an_erased_session_leaves_nothing_behind(settings: PageSettings) -> None:
    hub = Hub(settings)
    redis = connect(settings.redis_url.get_secret_value())
    store = SessionStore(redis, retention=60)
    session = (await store.create(SessionRequest(purpose="research", consent=True))).id
    heard: list[Changes] = []
    feed = hub.join(session, heard.append)
    await store.publish(session, 1, all_events(5))
    await until(lambda: feed.timeline.heard_until == 5)
    await store.erase(session)
    await until(lambda: feed.gone, 12)
    assert feed.timeline == Timeline()
    assert feed.record is None, 'its name would go on standing above "Nothing of it is left"'
    await hub.close()
    await redis.aclose()


def test_listening_stops_being_live_when_nothing_comes() -> None:
    feed = Feed.__new__(Feed)
    feed.timeline, feed._last_hop_at = Timeline(), time.time() - 1
    assert feed.live
    feed._last_hop_at = time.time() - 60
    assert not feed.live
