"""Sessions in Redis: who opens them, with which keys, and that nothing is left of them."""

from __future__ import annotations

import asyncio

import pytest
import redis

from pipeline.events import HopHeard, Warned
from pipeline.keys import digest
from pipeline.session import (
    Codec,
    Frame,
    NewSession,
    Role,
    SessionRequest,
    TakenOver,
    UnknownSession,
)
from pipeline.store import SessionStore, connect
from tests.pipeline.test_published import correct


async def test_nothing_starts_without_consent(store: SessionStore) -> None:
    with pytest.raises(ValueError, match="must agree"):
        await store.create(SessionRequest(purpose="research", consent=False))


async def test_a_session_knows_why_it_exists(store: SessionStore, session: NewSession) -> None:
    record = await store.record(session.id)
    assert (record.purpose, record.name, record.stopped) == ("research", "<b>ö</b>", False)
    assert 55 < record.expires_in <= 60


async def test_keys_open_what_they_should(store: SessionStore, session: NewSession, url: str) -> None:
    assert await store.role(session.id, session.recorder_key) is Role.RECORDER
    assert await store.role(session.id, session.viewer_key) is Role.VIEWER
    assert await store.role(session.id, "guess") is None
    with pytest.raises(UnknownSession):
        await store.role("nobody", session.viewer_key)
    with redis.Redis.from_url(url) as raw:
        at_rest = b"".join(raw.hgetall(f"tonetrack:{{{session.id}}}").values())
    assert session.recorder_key.encode() not in at_rest


async def test_a_replaced_viewer_key_opens_nothing(store: SessionStore, session: NewSession) -> None:
    before = await store.keys(session.id)
    key = await store.renew_viewer_key(session.id)
    assert await store.role(session.id, session.viewer_key) is None
    assert await store.role(session.id, key) is Role.VIEWER
    assert await store.role(session.id, session.recorder_key) is Role.RECORDER
    assert await store.keys(session.id) == before | {Role.VIEWER: digest(key)}
    await store.erase(session.id)
    with pytest.raises(UnknownSession):
        await store.renew_viewer_key(session.id)
    assert not await store.erase(session.id), "and nothing of it is back"
    assert await store.keys(session.id) == {}


async def test_a_replaced_recorder_key_cuts_off_who_records_with_it(
    store: SessionStore, session: NewSession, url: str
) -> None:
    connection = (await store.claim(session.id, Codec.PCM16)).connection
    key = await store.renew_recorder_key(session.id)
    assert await store.role(session.id, session.recorder_key) is None
    assert await store.role(session.id, key) is Role.RECORDER
    assert await store.role(session.id, session.viewer_key) is Role.VIEWER
    with pytest.raises(TakenOver):
        await store.append(session.id, connection, Codec.PCM16, Frame(0, b"ab", 1.0))
    again = await store.claim(session.id, Codec.PCM16)
    assert await store.append(session.id, again.connection, Codec.PCM16, Frame(0, b"ab", 1.0))
    with redis.Redis.from_url(url) as raw:
        raw.hset(f"tonetrack:{{{session.id}}}:job", "state", "done")
    with pytest.raises(ValueError, match="was uploaded"):
        await store.renew_recorder_key(session.id)
    await store.erase(session.id)
    with pytest.raises(UnknownSession):
        await store.renew_recorder_key(session.id)


async def test_a_session_knows_the_api_key_that_opened_it(store: SessionStore, session: NewSession) -> None:
    asked = SessionRequest(purpose="research", consent=True)
    assert await store.opened_with((await store.create(asked, "0123456789ab")).id) == "0123456789ab"
    assert await store.opened_with(session.id) == ""


async def test_erasing_leaves_nothing(store: SessionStore, session: NewSession, url: str) -> None:
    claim = await store.claim(session.id, Codec.PCM16)
    await store.append(session.id, claim.connection, Codec.PCM16, Frame(0, b"ab", 1.0))
    await store.save_snapshot(session.id, b"state", 0)
    await correct(store, session, 1, after=0)
    assert await store.erase(session.id) == 5
    with redis.Redis.from_url(url) as raw:
        assert not list(raw.scan_iter(f"*{session.id}*"))
    for attempt in (
        store.record(session.id),
        store.append(session.id, claim.connection, Codec.PCM16, Frame(1, b"cd", 1.0)),
        store.publish(session.id, 9, [HopHeard(speech=False)]),
        store.timeline(session.id),
        store.claim(session.id, Codec.PCM16),
        store.stop(session.id),
        store.standing(session.id),
        correct(store, session, 2, after=0),
    ):
        with pytest.raises(UnknownSession):
            await attempt
    await store.save_snapshot(session.id, b"late", 1)
    await store.warn(session.id, Warned(code="late", message="Too late."))
    with redis.Redis.from_url(url) as raw:
        assert not list(raw.scan_iter(f"*{session.id}*")), "something late brought an erased session back"


async def test_everything_expires_together(url: str) -> None:
    client = connect(url)
    store = SessionStore(client, retention=0.4)
    session = await store.create(SessionRequest(purpose="research", consent=True))
    claim = await store.claim(session.id, Codec.WEBM)
    await store.append(session.id, claim.connection, Codec.WEBM, Frame(0, b"webm", 1.0))
    await store.save_snapshot(session.id, b"state", 0)
    await correct(store, session, 1, after=0)
    await asyncio.sleep(0.6)
    with redis.Redis.from_url(url) as raw:
        assert not list(raw.scan_iter(f"*{session.id}*"))
    await client.aclose()


def test_an_address_that_is_not_redis_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        connect("http://localhost")
