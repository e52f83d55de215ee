"""A document does what its browser asks, and survives what no browser of ours would ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from bokeh.document import Document
from bokeh.events import MouseWheel, PanStart, Tap
from pydantic import SecretStr
from redis.exceptions import RedisError

from pipeline.events import SpeakerNamed, SpeakersMerged, WordsHeard
from pipeline.keys import digest
from pipeline.owners import Owners
from pipeline.session import NewSession, Role, SessionRequest
from pipeline.timeline import Word
from tests.service import running_redis
from tests.ui.conversation import ended, hops
from ui.commands import LONGEST, PER_MINUTE, WAITING
from ui.feed import Hub
from ui.page import Page
from ui.server import content_security_policy
from ui.settings import PageSettings


class Asked(Page):
    """A page whose answers are kept."""

    def __init__(self, hub: Hub, address: str = "192.0.2.1") -> None:
        self.answers: list[dict[str, object]] = []
        super().__init__(Document(), hub, address)

    def answer(self, number: int, name: str, **fields: object) -> None:
        self.answers.append({"n": number, "name": name, **fields})

    async def ask(self, **command: object) -> str:
        await self.commands.obey(json.dumps(command))
        return str(self.answers[-1]["name"]) if self.answers else ""


async def drawn(page: Asked, condition: Callable[[], bool]) -> None:
    """Wait until the feed has come so far, and draw it; without a browser nothing else would."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.02)
    page._draw()


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Asked]:
    with running_redis(tmp_path) as url:
        hub = Hub(PageSettings(redis_url=SecretStr(url)))
        page = Asked(hub)
        yield page
        page._leave(None)
        await hub.close()


@pytest.fixture
async def session(page: Asked) -> NewSession:
    return await page.hub.store.create(SessionRequest(purpose="research", consent=True))


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", '{"n": 1}', '{"n": 1, "ask": "dance"}', '{"n": 1, "ask": []}'])
async def test_what_is_no_command_is_dropped(page: Asked, text: str) -> None:
    await page.commands.obey(text)
    assert not page.answers


@pytest.mark.parametrize(
    "wrong",
    [
        {"ask": "open"},
        {"ask": "open", "session": 5, "key": None},
        {"ask": "step", "by": "far"},
        {"ask": "erase", "x": 1},
    ],
)
async def test_wrong_arguments_are_answered_with_trouble(page: Asked, wrong: dict[str, object]) -> None:
    assert await page.ask(n=1, **wrong) == "trouble"


async def test_every_request_is_answered_even_where_there_is_nothing_to_tell(page: Asked) -> None:
    """A promise in the browser stayed pending for ever."""
    assert await page.ask(n=1, ask="step", by=1) == "announce"
    assert await page.ask(n=2, ask="download") == "trouble"
    assert await page.ask(n=3, ask="erase") == "trouble"


async def test_two_quick_opens_leave_one_feed(page: Asked, session: NewSession) -> None:
    """The slower of the two stayed subscribed, and its reader ran until the server stopped."""
    opening = {"ask": "open", "session": session.id, "key": session.viewer_key}
    await asyncio.gather(page.ask(n=1, **opening), page.ask(n=2, **opening))
    assert [answer["name"] for answer in page.answers] == ["opened", "opened"]
    page.close()
    assert not page.hub._feeds


async def test_a_page_is_obeyed_so_often_a_minute(page: Asked) -> None:
    """One browser could keep the process of all pages busy."""
    for n in range(PER_MINUTE):
        await page.ask(n=n, ask="step", by=1)
    assert {answer["name"] for answer in page.answers} == {"announce"}
    assert await page.ask(n=-1, ask="step", by=1) == "trouble"
    assert "too much within a minute" in str(page.answers[-1]["message"])
    assert await page.ask(n=-2, ask="view", mode="all" + " " * LONGEST) == "trouble", "unanswered, for it is too long"
    assert page.answers[-1]["n"] == -1


async def test_commands_are_done_one_at_a_time_and_few_wait(page: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page had as many of them under way as its browser liked."""
    under_way, let_go = 0, asyncio.Event()

    async def slow(*_arguments: object) -> Role:
        nonlocal under_way
        under_way += 1
        await let_go.wait()
        under_way -= 1
        return Role.VIEWER

    monkeypatch.setattr(page.hub.store, "role", slow)
    asking = [page.ask(n=n, ask="open", session=str(n), key="key") for n in range(WAITING + 1)]
    opening = asyncio.gather(*asking)
    async with asyncio.timeout(5):
        while not under_way or not page.answers:
            await asyncio.sleep(0.02)
    assert under_way == 1
    assert [answer["name"] for answer in page.answers] == ["trouble"]
    let_go.set()
    await opening
    assert [answer["n"] for answer in page.answers[1:]] == list(range(WAITING))


async def test_a_session_that_is_left_leaves_nothing_behind(page: Asked, session: NewSession) -> None:
    """What is opened next would have been shown with the people of the one before."""
    heard = [event for hop in hops(60) for event in hop]
    await page.hub.store.publish(session.id, 1, [*heard, ended(60)])
    opening = {"ask": "open", "session": session.id, "key": session.viewer_key}
    await page.ask(n=1, **opening)
    await drawn(page, lambda: page.feed is not None and page.feed.timeline.ended)
    assert page.window.mode == "all"
    assert await page.ask(n=2, ask="leave") == "left"
    page._draw()
    assert (page.bridge.people, page.bridge.said, page.window.mode) == ("[]", "[]", "follow")
    assert page.session_state()["state"] == "ready"
    assert not page.hub._feeds
    assert await page.ask(n=3, **opening) == "opened"
    await drawn(page, lambda: page.feed is not None and page.feed.timeline.ended)
    assert len(json.loads(page.bridge.people)) == 3


async def test_the_mouse_is_heard_in_the_plots(page: Asked, session: NewSession) -> None:
    """Bokeh dropped every event: a closer look did not last, and no lane could be chosen."""
    await page.hub.store.publish(session.id, 1, [*(event for hop in hops(60) for event in hop), ended(60)])
    await page.ask(n=1, ask="open", session=session.id, key=session.viewer_key)
    await drawn(page, lambda: page.feed is not None and page.feed.timeline.ended)
    assert page.selected != 3
    page.document.callbacks.trigger_event(Tap(page.ribbons.figure, x=5.0, y=-2.0))
    assert page.selected == 3
    assert page.window.mode == "all"
    page.document.callbacks.trigger_event(MouseWheel(page.ribbons.figure, x=5.0, y=0.0))
    assert page.window.mode == "free"
    page.window.mode = "all"
    page.document.callbacks.trigger_event(PanStart(page.probabilities.figure, x=5.0, y=0.0))
    assert page.window.mode == "free"


async def test_a_step_goes_on_from_what_is_being_played(page: Asked, session: NewSession) -> None:
    await page.hub.store.publish(session.id, 1, [event for hop in hops(60) for event in hop])
    await page.ask(n=1, ask="open", session=session.id, key=session.viewer_key)
    await drawn(page, lambda: page.feed is not None and page.feed.caught_up)
    assert await page.ask(n=2, ask="step", by=1, at=20.0) == "announce"
    start = page.answers[-1]["start"]
    assert isinstance(start, float)
    assert start > 20
    assert await page.ask(n=3, ask="step", by=-1, at=start + 0.5) == "announce"
    assert page.answers[-1]["start"] < start  # type: ignore[operator]


async def test_whose_key_was_replaced_is_shown_nothing_that_comes_after(page: Asked, session: NewSession) -> None:
    store = page.hub.store
    await store.publish(session.id, 1, [event for hop in hops(30) for event in hop])
    await page.ask(n=1, ask="open", session=session.id, key=session.viewer_key)
    await drawn(page, lambda: page.feed is not None and bool(page.feed.timeline.speakers))
    key = await store.renew_viewer_key(session.id)
    await store.publish(session.id, 2, [ended(30)])
    await drawn(page, lambda: page.feed is not None and page.feed.keys[Role.VIEWER] == digest(key))
    assert (page.session_state()["state"], page.bridge.people) == ("denied", "[]")
    assert not page.hub._feeds
    assert await page.ask(n=2, ask="download") == "trouble"
    await page.ask(n=3, ask="open", session=session.id, key=session.viewer_key)
    assert page.session_state()["state"] == "denied"
    await page.ask(n=4, ask="open", session=session.id, key=key)
    await drawn(page, lambda: page.feed is not None and page.feed.timeline.ended)
    assert page.session_state()["role"] == "viewer"


async def test_with_a_new_recorder_key_the_old_one_shows_nothing_any_more(page: Asked, session: NewSession) -> None:
    """Whoever had come with the old one went on watching."""
    store = page.hub.store
    viewer = Asked(page.hub)
    await store.publish(session.id, 1, [event for hop in hops(20) for event in hop])
    await page.ask(n=1, ask="open", session=session.id, key=session.recorder_key)
    await viewer.ask(n=1, ask="open", session=session.id, key=session.viewer_key)
    await drawn(page, lambda: page.feed is not None and bool(page.feed.timeline.speakers))
    key = await store.renew_recorder_key(session.id)
    await store.publish(session.id, 2, [ended(30)])
    await drawn(page, lambda: page.feed is not None and page.feed.keys[Role.RECORDER] == digest(key))
    assert (page.session_state()["state"], page.bridge.people) == ("denied", "[]")
    viewer._draw()
    assert viewer.session_state()["role"] == "viewer"
    viewer._leave(None)
    await page.ask(n=2, ask="open", session=session.id, key=key)
    assert page.session_state()["role"] == "recorder"


async def test_an_upload_is_shown_to_whoever_has_its_owners_newest_key(page: Asked, session: NewSession) -> None:
    """The newest was shown nothing, and a page that had been opened with the first might erase."""
    store, old = page.hub.store, Asked(page.hub)
    await old.ask(n=1, ask="open", session=session.id, key=session.recorder_key)
    key = await Owners(page.hub._redis, 60).renew(session.recorder_key)
    assert await old.ask(n=2, ask="erase") == "trouble"
    assert "has been replaced" in str(old.answers[-1]["message"])
    old._leave(None)
    await page.ask(n=1, ask="open", session=session.id, key=key)
    await store.publish(session.id, 1, [event for hop in hops(20) for event in hop])
    await drawn(page, lambda: page.feed is not None and bool(page.feed.timeline.speakers))
    assert (page.session_state()["state"], page.session_state()["role"]) == ("live", "recorder")
    assert await page.ask(n=2, ask="erase") == "erased"


@pytest.mark.parametrize("asked", ["erase", "download"])
async def test_a_key_is_asked_for_again_before_it_erases_or_downloads(
    page: Asked, session: NewSession, asked: str
) -> None:
    """One that had been replaced did both until the page had heard of it."""
    await page.ask(n=1, ask="open", session=session.id, key=session.recorder_key)
    await drawn(page, lambda: page.feed is not None and page.feed.record is not None and page.feed.caught_up)
    await page.hub.store.renew_recorder_key(session.id)
    assert await page.ask(n=2, ask=asked) == "trouble"
    assert "has been replaced" in str(page.answers[-1]["message"])
    page._draw()
    assert page.session_state()["state"] == "denied"
    assert (await page.hub.store.record(session.id)).purpose == "research"


async def test_what_the_api_has_erased_the_page_forgets(page: Asked, session: NewSession) -> None:
    await page.ask(n=1, ask="open", session=session.id, key=session.recorder_key)
    await page.hub.store.erase(session.id)
    assert await page.ask(n=2, ask="erase") == "erased"
    assert page.session_state()["state"] == "erased"


async def test_whoever_is_selected_stays_so_under_the_number_that_they_turn_out_to_have(
    page: Asked, session: NewSession
) -> None:
    """The panels jumped to somebody else."""
    heard = [event for hop in hops(60) for event in hop]
    await page.hub.store.publish(session.id, 1, heard)
    await page.ask(n=1, ask="open", session=session.id, key=session.viewer_key)
    await drawn(page, lambda: page.feed is not None and page.feed.timeline.speakers == [1, 2, 3])
    await page.ask(n=2, ask="step", by=-1)
    turn = page.turn
    page.selected = 3
    await page.hub.store.publish(session.id, 2, [SpeakersMerged(kept=2, merged=3)])
    await drawn(page, lambda: page.feed is not None and page.feed.timeline.speakers == [1, 2])
    assert page.selected == 2
    assert page.turn == turn
    assert [card["speaker"] for card in json.loads(page.bridge.people)] == [1, 2]


async def test_what_is_over_is_told_as_a_whole(page: Asked, session: NewSession) -> None:
    heard = [event for hop in hops(60) for event in hop]
    await page.hub.store.publish(session.id, 1, heard)
    await page.ask(n=1, ask="open", session=session.id, key=session.viewer_key)
    await drawn(page, lambda: page.feed is not None and page.feed.timeline.speakers == [1, 2, 3])
    assert page.map.children == [page.moods.figure]
    assert not any(card["whole"] for card in json.loads(page.bridge.people))
    await page.hub.store.publish(session.id, 2, [ended(60)])
    await drawn(page, lambda: page.feed is not None and page.feed.timeline.ended)
    assert page.map.children == [page.places.figure]
    assert all(card["whole"] for card in json.loads(page.bridge.people))
    assert page.bridge.summary.startswith("Speaker 1 talked for ")
    await page.hub.store.publish(session.id, 3, [SpeakerNamed(speaker=1, name="Anna")])
    await drawn(page, lambda: page.feed is not None and page.feed.timeline.names == {1: "Anna"})
    assert json.loads(page.bridge.people)[0]["name"] == "Anna"
    assert page.places._dots.data["name"][0] == "Anna"


async def test_names_and_words_are_shown_and_handed_over(page: Asked, session: NewSession) -> None:
    words = (Word(start=1.5, end=2, text="well", speaker=2),)
    more = [SpeakerNamed(speaker=2, name="Anna"), WordsHeard(since=0, until=5, words=words)]
    await page.hub.store.publish(session.id, 1, [*(event for hop in hops(20) for event in hop), *more])
    await page.ask(n=1, ask="open", session=session.id, key=session.viewer_key)
    await drawn(page, lambda: page.feed is not None and page.feed.record is not None and page.feed.caught_up)
    assert json.loads(page.bridge.said) == [{"turn": 0, "speaker": 2, "name": "Anna", "start": 1.0, "text": "well"}]
    assert [card["name"] for card in json.loads(page.bridge.people)] == ["Speaker 1", "Anna"]
    assert await page.ask(n=2, ask="download") == "download"
    told = json.loads(str(page.answers[-1]["text"]))
    assert told["names"] == {"2": "Anna"}
    assert [word["text"] for word in told["words"]] == ["well"]


@pytest.mark.parametrize(
    ("server", "asked", "expected"),
    [("local", None, "local"), ("google", None, "google"), ("local", "google", "google"), ("google", "local", "local")],
)
async def test_who_tells_speakers_apart_is_the_sessions_choice_or_else_the_servers(
    page: Asked, server: str, asked: str | None, expected: str
) -> None:
    page.hub.settings = page.hub.settings.model_copy(update={"diariser": server})
    assert page.session_state()["diariser"] == server, "who is about to agree must know"
    request = SessionRequest.model_validate({"purpose": "research", "consent": True, "diariser": asked})
    session = await page.hub.store.create(request)
    await page.ask(n=1, ask="open", session=session.id, key=session.viewer_key)
    await drawn(page, lambda: page.feed is not None and page.feed.record is not None)
    assert page.session_state()["diariser"] == expected


async def test_guessing_keys_by_the_page_is_limited_by_address(page: Asked, session: NewSession) -> None:
    page.hub.settings.wrong_keys_per_minute = 2
    other = Asked(page.hub, "192.0.2.2")
    guess = {"ask": "open", "session": session.id, "key": "guess"}
    right = guess | {"key": session.viewer_key}
    assert [await page.ask(n=n, **guess) for n in range(2)] == ["opened", "opened"]
    assert await page.ask(n=3, **right) == "trouble"
    assert page.role is None
    assert await other.ask(n=1, **right) == "opened"
    assert other.role == "viewer"
    other._leave(None)


@pytest.mark.parametrize(
    ("api_url", "host", "sources"),
    [
        ("", "h:5006", "'self' http://h:8123 ws://h:5006 ws://h:8123"),
        ("", "[::1]:5006", "'self' http://[::1]:8123 ws://[::1]:5006 ws://[::1]:8123"),
        ("https://api.example.org", "h", "'self' https://api.example.org ws://h wss://api.example.org"),
        ("http://x:9/tone/", "h:1", "'self' http://x:9 ws://h:1 ws://x:9"),
    ],
)
def test_the_pages_scripts_may_ask_the_api_and_nobody_else(api_url: str, host: str, sources: str) -> None:
    settings = PageSettings(redis_url=SecretStr("redis://x"), port=8123, api_url=api_url)
    policy = dict(part.split(" ", 1) for part in content_security_policy(settings, host).split("; "))
    assert policy["connect-src"] == sources
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"


async def test_a_store_that_is_away_is_said(page: Asked, session: NewSession, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_arguments: object) -> None:
        raise RedisError("away")

    await page.ask(n=1, ask="open", session=session.id, key=session.recorder_key)
    monkeypatch.setattr(page.hub.store, "erase", away)
    assert await page.ask(n=2, ask="erase") == "trouble"
    assert page.answers[-1]["message"] == "The store does not answer at the moment. Please try again."
    monkeypatch.setattr(page.hub.store, "role", away)
    assert await page.ask(n=3, ask="open", session=session.id, key=session.recorder_key) == "trouble"
    assert page.answers[-1]["message"] == "The store does not answer at the moment. The page tries again by itself."
