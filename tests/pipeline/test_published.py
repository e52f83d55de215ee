"""What a session has told, step by step: to those who follow it, and with what was corrected."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import redis

from pipeline import tasks
from pipeline.corrections import Correction, Merging, Naming, parse
from pipeline.events import Event, HopHeard, SessionEnded, SpeakerNamed
from pipeline.published import Corrected
from pipeline.session import (
    Expected,
    NewSession,
    OutOfStep,
    Role,
    SessionRequest,
    UnknownSession,
)
from pipeline.store import SessionStore
from pipeline.timeline import Timeline


async def test_a_step_is_published_once(store: SessionStore, session: NewSession) -> None:
    hop = HopHeard(speech=False, heard_until=0.5)
    assert await store.publish(session.id, 1, [hop])
    assert not await store.publish(session.id, 1, [hop])
    assert not await store.publish(session.id, 0, [hop])
    events = await store.events(session.id)
    assert [event.type for _, event in events] == ["session.started", "hop.heard"]
    assert events[1][1].published_at is not None
    assert await store.events(session.id, after=events[0][0]) == events[1:]


async def test_a_timeline_is_read_a_page_at_a_time_and_made_aside(
    store: SessionStore, session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that was ever published of a session of hours was read in one, and held in memory twice."""
    monkeypatch.setattr("pipeline.published.PAGE", 3)
    for step in range(1, 8):
        await store.publish(session.id, step, [HopHeard(speech=True, heard_until=step / 2)])
    pages: list[int] = []

    async def aside(fold: Any, timeline: Timeline, texts: Sequence[bytes]) -> None:
        pages.append(len(texts))
        fold(timeline, texts)

    assert (await store.timeline(session.id, aside)).heard_until == 3.5
    assert pages == [3, 3, 2]

    async def erase_meanwhile(fold: Any, timeline: Timeline, texts: Sequence[bytes]) -> None:
        await store.erase(session.id)

    with pytest.raises(UnknownSession):
        await store.timeline(session.id, erase_meanwhile)


async def test_many_followers_leave_room_for_everybody_else(store: SessionStore, session: NewSession) -> None:
    caught_up = 0

    async def follow() -> None:
        nonlocal caught_up
        async for _ in store.follow(session.id):
            caught_up += 1

    following = [asyncio.create_task(follow()) for _ in range(150)]  # redis-py has a hundred connections by itself
    async with asyncio.timeout(4):  # before any of them stops waiting
        while caught_up < len(following):
            await asyncio.sleep(0.01)
        assert await store.role(session.id, session.recorder_key) is Role.RECORDER
    await tasks.end(*following)


async def test_followers_see_the_past_and_then_the_rest(store: SessionStore, session: NewSession) -> None:
    await store.publish(session.id, 1, [HopHeard(speech=True, heard_until=0.5)])

    async def follow() -> list[str]:
        return [event.type async for batch in store.follow(session.id) for _, event in batch]

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.1)
    await store.publish(session.id, 2, [SessionEnded(heard_until=0.5)])
    assert await following == ["session.started", "hop.heard", "session.ended"]
    assert await store.ended_at(session.id) == 0.5
    assert (await store.timeline(session.id)).ended


async def test_who_has_seen_the_end_waits_for_nothing(
    store: SessionStore, session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.published.FOLLOW_BLOCK_MS", 50)
    await store.publish(session.id, 1, [SessionEnded()])
    last = (await store.events(session.id))[-1][0]
    async with asyncio.timeout(5):
        assert [event async for batch in store.follow(session.id, after=last) for event in batch] == []


async def test_who_asks_for_it_hears_what_comes_after_the_end(
    store: SessionStore, session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.published.FOLLOW_BLOCK_MS", 50)
    await store.publish(session.id, 1, [SessionEnded(heard_until=3)])

    async def follow() -> list[str]:
        types: list[str] = []
        async for batch in store.follow(session.id, beyond_end=True):
            types += [event.type for _, event in batch]
            if types[-1] == "speaker.named":
                return types
        return types

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.2)
    await correct(store, session, 1, after=1)
    async with asyncio.timeout(5):
        assert await following == ["session.started", "session.ended", "speaker.named"]
        types = [event.type async for batch in store.follow(session.id) for _, event in batch]
    assert types == ["session.started", "session.ended", "speaker.named"]
    assert await store.ended_at(session.id) == 3


async def test_sessions_of_an_earlier_version_have_ended_too(
    store: SessionStore, session: NewSession, url: str
) -> None:
    """Their last event used to be the only sign of it."""
    await store.publish(session.id, 1, [SessionEnded(heard_until=3.25)])
    with redis.Redis.from_url(url) as raw:
        raw.hdel(f"tonetrack:{{{session.id}}}", "ended")
    assert await store.ended_at(session.id) == 3.25
    async with asyncio.timeout(4):
        assert len([event async for batch in store.follow(session.id) for event in batch]) == 2
    await correct(store, session, 1, after=1)
    assert await store.ended_at(session.id) == 3.25


ANNA = Naming(speaker=1, name="Anna")


async def correct(
    store: SessionStore,
    session: NewSession,
    number: int,
    after: int,
    token: str = "token",
    correction: Correction = ANNA,
) -> None:
    events: list[Event] = [SpeakerNamed(speaker=1, name="Anna")]
    await store.correct(session.id, number, Corrected(after, token, correction.model_dump_json()), events)


async def test_a_correction_and_its_events_are_written_once(store: SessionStore, session: NewSession) -> None:
    """A connection that broke before the answer came asks again."""
    await store.publish(session.id, 1, [HopHeard(speech=True)])
    await correct(store, session, 1, after=1)
    await correct(store, session, 1, after=1)
    await correct(store, session, 2, after=1, token="other", correction=Merging(kept=1, merged=2))
    types = [event.type for _, event in await store.events(session.id)]
    assert types == ["session.started", "hop.heard", "speaker.named", "speaker.named"]
    first, second = await store.corrections(session.id)
    assert (first.after, first.token, parse(first.correction)) == (1, "token", ANNA)
    assert (second.after, second.token, parse(second.correction)) == (1, "other", Merging(kept=1, merged=2))
    standing = await store.standing(session.id)
    assert (standing.published, standing.corrections, standing.ended) == (1, 2, None)


@pytest.mark.parametrize(("number", "after"), [(1, 0), (1, 2), (2, 1), (3, 1)])
async def test_a_correction_of_what_is_not_any_more_is_refused(
    store: SessionStore, session: NewSession, number: int, after: int
) -> None:
    await store.publish(session.id, 1, [HopHeard(speech=True)])
    if number == 1:
        with pytest.raises(OutOfStep):
            await correct(store, session, number, after)
        assert await store.corrections(session.id) == []
    else:
        await correct(store, session, 1, after=1)
        with pytest.raises(OutOfStep):
            await correct(store, session, 1 if number == 2 else number, after, token="other")
        assert len(await store.corrections(session.id)) == 1
    assert len(await store.events(session.id)) == 2 + (number != 1)


async def test_a_step_that_overlooks_a_correction_is_refused(store: SessionStore, session: NewSession) -> None:
    await correct(store, session, 1, after=0)
    hop = HopHeard(speech=True)
    with pytest.raises(OutOfStep):
        await store.publish(session.id, 1, [hop], corrected=0)
    assert await store.publish(session.id, 1, [hop], corrected=1)
    assert not await store.publish(session.id, 1, [hop], corrected=0), "a replay has been published, whatever it knows"


async def test_a_correction_does_not_make_a_session_live_longer(store: SessionStore, session: NewSession) -> None:
    await asyncio.sleep(0.3)
    await correct(store, session, 1, after=0)
    assert (await store.record(session.id)).expires_in < 59.8
    assert 0 < await store._redis.pttl(f"tonetrack:{{{session.id}}}:corrections") < 59_800


async def test_what_was_said_of_the_speakers_is_remembered(store: SessionStore, session: NewSession) -> None:
    assert await store.expected(session.id) == Expected(1, None)
    request = SessionRequest(
        purpose="research", consent=True, min_speakers=2, max_speakers=3, diariser="google", language="de-CH"
    )
    told = await store.create(request)
    assert await store.expected(told.id) == Expected(2, 3)
    record = await store.record(told.id)
    assert (record.min_speakers, record.max_speakers, record.diariser, record.language) == (2, 3, "google", "de-CH")
    with pytest.raises(ValueError, match="above max_speakers"):
        SessionRequest(purpose="research", consent=True, min_speakers=3, max_speakers=2)
