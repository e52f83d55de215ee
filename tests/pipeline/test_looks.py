"""Who looked is written down once a look, for as long as there is something to look at, and no longer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline import looks
from pipeline.events import HopHeard
from pipeline.looks import GAP, MOST
from pipeline.session import NewSession, Role, SessionRequest
from pipeline.store import SessionStore, connect
from tests.service import running_redis


class Clock:
    """Stands in for the time of day."""

    def __init__(self) -> None:
        self.now = 1_767_225_600.123

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(looks, "time", clock)
    return clock


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    with running_redis(tmp_path) as url:
        client = connect(url)
        yield SessionStore(client, retention=600)
        await client.aclose()


@pytest.fixture
async def session(store: SessionStore) -> NewSession:
    return await store.create(SessionRequest(purpose="research", consent=True))


async def test_what_polls_is_one_look(store: SessionStore, session: NewSession, clock: Clock) -> None:
    began = clock.now
    for _ in range(100):
        await store.looks.note(session.id, Role.VIEWER, "timeline")
        clock.now += GAP / 2
    ended = clock.now - GAP / 2
    (look,) = await store.looks.of(session.id)
    assert (look.who, look.what) == ("viewer", "timeline")
    assert (look.since, look.until) == (pytest.approx(began, abs=0.001), pytest.approx(ended, abs=0.001))


async def test_each_key_each_kind_and_each_time_is_a_look_of_its_own(
    store: SessionStore, session: NewSession, clock: Clock
) -> None:
    await store.looks.note(session.id, Role.VIEWER, "timeline")
    await store.looks.note(session.id, Role.RECORDER, "timeline")
    await store.looks.note(session.id, Role.VIEWER, "report")
    clock.now += GAP + 1
    await store.looks.note(session.id, Role.VIEWER, "timeline")
    told = [(look.who, look.what) for look in await store.looks.of(session.id)]
    assert told[0] == ("viewer", "timeline"), "the newest comes first"
    assert sorted(told[1:]) == [("recorder", "timeline"), ("viewer", "report"), ("viewer", "timeline")]


async def test_a_trail_has_an_end(store: SessionStore, session: NewSession, clock: Clock) -> None:
    for _ in range(MOST + 5):
        await store.looks.note(session.id, Role.VIEWER, "page")
        clock.now += GAP + 1
    found = await store.looks.of(session.id)
    assert len(found) == MOST
    assert found[0].until == pytest.approx(clock.now - GAP - 1, abs=0.001), "the newest are kept"


async def test_who_looks_often_does_not_hide_who_looked(store: SessionStore, session: NewSession, clock: Clock) -> None:
    """A thousand looks at the page pushed out the one time that somebody took the sound along."""
    began = clock.now
    await store.looks.note(session.id, Role.VIEWER, "audio")
    await store.looks.note(session.id, Role.RECORDER, "page")
    for _ in range(MOST + 5):
        await store.looks.note(session.id, Role.VIEWER, "page")
        clock.now += GAP + 1
    found = await store.looks.of(session.id)
    assert len(found) == MOST
    oldest = [(look.who, look.what) for look in found if look.since == pytest.approx(began, abs=0.001)]
    assert sorted(oldest) == [("recorder", "page"), ("viewer", "audio"), ("viewer", "page")]
    since = [look.since for look in found if (look.who, look.what) == ("viewer", "page")]
    gaps = {round(newer - older) for newer, older in pairwise(since[:-1])}
    assert gaps == {GAP + 1}, "and the newest, none of which is missing"


async def test_it_lives_as_long_as_the_session(store: SessionStore, session: NewSession) -> None:
    """A conversation that went on for longer than anything is kept lost the trail of its beginning."""
    key = f"tonetrack:{{{session.id}}}"
    redis: Any = store._redis
    await store.looks.note(session.id, Role.VIEWER, "page")
    await redis.pexpire(f"{key}:looks", 1_000)
    await store.publish(session.id, 1, [HopHeard(heard_until=0.5, speech=False)])
    assert await redis.pttl(f"{key}:looks") > 590_000


async def test_what_is_erased_has_no_trail_and_gets_none(store: SessionStore, session: NewSession) -> None:
    await store.looks.note(session.id, Role.VIEWER, "page")
    await store.erase(session.id)
    assert await store.looks.of(session.id) == []
    await store.looks.note(session.id, Role.VIEWER, "page")
    assert await store.looks.of(session.id) == []
    assert not await store._redis.keys("*")
