"""The journal of a session: frames, once and in order, from one recorder, until it stops."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.session import (
    Codec,
    Frame,
    FrameGap,
    NewSession,
    OtherCodec,
    SessionOver,
    SessionRequest,
    TakenOver,
)
from pipeline.store import SessionStore, connect


async def heard(store: SessionStore, session: str) -> list[bytes]:
    return [frame.data async for frame in store.frames(session, Codec.PCM16)]


async def test_a_frame_is_journalled_once(store: SessionStore, session: NewSession) -> None:
    claim = await store.claim(session.id, Codec.PCM16)
    assert (await store.append(session.id, claim.connection, Codec.PCM16, Frame(0, b"ab", 1.0))).next == 1
    assert (await store.append(session.id, claim.connection, Codec.PCM16, Frame(0, b"xx", 2.0))).next == 1
    assert (await store.append(session.id, claim.connection, Codec.PCM16, Frame(1, b"cdef", 3.0))).next == 2
    assert await heard(store, session.id) == [b"ab", b"cdef"]
    again = await store.claim(session.id, Codec.PCM16)
    assert (again.next_frame, again.next_audio, again.samples) == (2, 2, 3)


async def test_a_gap_is_refused(store: SessionStore, session: NewSession) -> None:
    claim = await store.claim(session.id, Codec.PCM16)
    with pytest.raises(FrameGap, match="frame 2 came where frame 0 was expected"):
        await store.append(session.id, claim.connection, Codec.PCM16, Frame(2, b"ab", 1.0))


async def test_the_newest_recorder_wins(store: SessionStore, session: NewSession) -> None:
    old = await store.claim(session.id, Codec.PCM16)
    new = await store.claim(session.id, Codec.PCM16)
    with pytest.raises(TakenOver):
        await store.append(session.id, old.connection, Codec.PCM16, Frame(0, b"ab", 1.0))
    assert (await store.append(session.id, new.connection, Codec.PCM16, Frame(0, b"ab", 1.0))).next == 1


async def test_a_recorder_does_not_fence_itself_off(store: SessionStore, session: NewSession) -> None:
    """A claim of a broken line that came late used to end the recording on the line that had healed."""
    live = await store.claim(session.id, Codec.PCM16, "recorder-1")
    late = await store.claim(session.id, Codec.PCM16, "recorder-1")
    assert live.connection == late.connection
    assert (await store.append(session.id, live.connection, Codec.PCM16, Frame(0, b"ab", 1.0))).next == 1
    await store.claim(session.id, Codec.PCM16, "recorder-2")
    with pytest.raises(TakenOver):
        await store.append(session.id, live.connection, Codec.PCM16, Frame(1, b"cd", 1.0))
    with pytest.raises(TakenOver):
        await store.stop(session.id, live.connection)
    assert not (await store.record(session.id)).stopped


async def test_nobody_goes_on_without_the_sound(url: str) -> None:
    client = connect(url)
    store = SessionStore(client, retention=60, sound_retention=0.2)
    session = await store.create(SessionRequest(purpose="research", consent=True))
    claim = await store.claim(session.id, Codec.PCM16)
    await store.append(session.id, claim.connection, Codec.PCM16, Frame(0, b"ab", 1.0))
    assert await store.waits(session.id, next_frame=1)
    assert not await store.waits(session.id, next_frame=0)
    await asyncio.sleep(0.4)
    assert await heard(store, session.id) == []
    with pytest.raises(SessionOver):
        await store.claim(session.id, Codec.PCM16)
    assert not (await store.record(session.id)).stopped
    await client.aclose()


async def test_a_session_keeps_its_codec(store: SessionStore, session: NewSession) -> None:
    await store.claim(session.id, Codec.WEBM)
    with pytest.raises(OtherCodec, match="recorded as webm"):
        await store.claim(session.id, Codec.PCM16)


async def test_a_stopped_session_takes_nothing_more(store: SessionStore, session: NewSession) -> None:
    claim = await store.claim(session.id, Codec.PCM16)
    await store.stop(session.id)
    with pytest.raises(SessionOver):
        await store.append(session.id, claim.connection, Codec.PCM16, Frame(0, b"ab", 1.0))
    with pytest.raises(SessionOver):
        await store.claim(session.id, Codec.PCM16)


async def test_what_is_sent_again_after_the_stop_is_acknowledged(store: SessionStore, session: NewSession) -> None:
    """A recorder that came back on a new line, its stop still on the way on the old one, used to be refused."""
    claim = await store.claim(session.id, Codec.PCM16, "recorder-1")
    await store.append(session.id, claim.connection, Codec.PCM16, Frame(0, b"ab", 1.0))
    await store.stop(session.id, claim.connection)
    assert (await store.append(session.id, claim.connection, Codec.PCM16, Frame(0, b"ab", 1.0))).next == 1
    with pytest.raises(SessionOver):
        await store.append(session.id, claim.connection, Codec.PCM16, Frame(1, b"cd", 1.0))


async def test_a_snapshot_lets_the_journal_go(store: SessionStore, session: NewSession) -> None:
    claim = await store.claim(session.id, Codec.PCM16)
    for number in range(4):
        await store.append(session.id, claim.connection, Codec.PCM16, Frame(number, b"%02d" % number, 1.0))
    assert await store.load_snapshot(session.id) is None
    await store.save_snapshot(session.id, b"state", next_frame=3)
    assert await store.load_snapshot(session.id) == b"state"
    assert await heard(store, session.id) == [b"03"]
