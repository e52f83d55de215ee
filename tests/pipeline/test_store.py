from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
import redis

from pipeline import published, tasks
from pipeline.corrections import Correction, Merging, Naming, parse
from pipeline.events import Event, HopHeard, SessionEnded, SpeakerNamed, Warned
from pipeline.published import Corrected
from pipeline.session import (
    Codec,
    Expected,
    Frame,
    FrameGap,
    NewSession,
    OtherCodec,
    OutOfStep,
    Role,
    SessionOver,
    SessionRequest,
    TakenOver,
    UnknownSession,
    VoiceKey,
)
from pipeline.store import SessionStore, connect
from pipeline.voiceprint import SIZE
from pipeline.voices import NewVoice, UnknownVoice, WrongVoiceKey
from tests.service import running_redis


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SessionStore]:
    client = connect(url)
    yield SessionStore(client, retention=60)
    await client.aclose()


@pytest.fixture
async def session(store: SessionStore) -> NewSession:
    return await store.create(SessionRequest(purpose="research", consent=True, name="<b>ö</b>"))


async def heard(store: SessionStore, session: str) -> list[bytes]:
    return [frame.data async for frame in store.frames(session, Codec.PCM16)]


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
    before = await store.viewer(session.id)
    key = await store.renew_viewer_key(session.id)
    assert await store.role(session.id, session.viewer_key) is None
    assert await store.role(session.id, key) is Role.VIEWER
    assert await store.role(session.id, session.recorder_key) is Role.RECORDER
    assert await store.viewer(session.id) not in ("", before)
    await store.erase(session.id)
    with pytest.raises(UnknownSession):
        await store.renew_viewer_key(session.id)
    assert not await store.erase(session.id), "and nothing of it is back"


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


async def test_a_step_is_published_once(store: SessionStore, session: NewSession) -> None:
    hop = HopHeard(speech=False, heard_until=0.5)
    assert await store.publish(session.id, 1, [hop])
    assert not await store.publish(session.id, 1, [hop])
    assert not await store.publish(session.id, 0, [hop])
    events = await store.events(session.id)
    assert [event.type for _, event in events] == ["session.started", "hop.heard"]
    assert events[1][1].published_at is not None
    assert await store.events(session.id, after=events[0][0]) == events[1:]


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


async def test_so_many_streams_may_be_open_and_who_falls_silent_lets_go(
    store: SessionStore, session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def held(*streams: str) -> list[bool]:
        return [await store.hold_stream(session.id, stream, most=2) for stream in streams]

    assert await held("a", "b", "c", "a") == [True, True, False, True]
    await store.let_go_of_stream(session.id, "a")
    assert await held("c", "a") == [True, False]
    monkeypatch.setattr(published, "STREAM_SECONDS", 0.02)
    assert await held("c", "b") == [True, True]
    await asyncio.sleep(0.05)
    assert await held("d", "e") == [True, True]


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


async def a_voice(store: SessionStore, seconds: float = 60) -> NewVoice:
    return await store.voices.add("Anna", np.eye(1, SIZE, 3, dtype=np.float32)[0], 11.5, "v1", seconds)


async def test_a_voice_is_what_was_enrolled(store: SessionStore, url: str) -> None:
    voice = await a_voice(store)
    assert voice.record == await store.voices.record(voice.record.id)
    assert voice.record.expires_at - voice.record.consented_at == pytest.approx(60, abs=1)
    (loaded,) = await store.voices.load([voice.record.id, "nobody"], "v1")
    assert (loaded.id, loaded.name, int(loaded.voiceprint.argmax())) == (voice.record.id, "Anna", 3)
    assert loaded.voiceprint.dtype == np.float16
    assert await store.voices.load([voice.record.id], "v2") == [], "voiceprints of two encoders cannot be compared"
    with redis.Redis.from_url(url) as raw:
        at_rest = b"".join(raw.hgetall(f"tonetrack:voice:{{{voice.record.id}}}").values())
    assert voice.key.encode() not in at_rest
    await store.voices.erase(voice.record.id)
    with pytest.raises(UnknownVoice):
        await store.voices.record(voice.record.id)
    assert await store.voices.load([voice.record.id], "v1") == []


async def test_a_voice_expires(store: SessionStore) -> None:
    voice = await a_voice(store, seconds=0.2)
    await asyncio.sleep(0.4)
    with pytest.raises(UnknownVoice):
        await store.voices.check(VoiceKey(id=voice.record.id, key=voice.key))


async def test_a_session_knows_the_voices_whose_keys_it_was_given(store: SessionStore) -> None:
    voice = await a_voice(store)

    def asked(key: str, voice_id: str = voice.record.id) -> SessionRequest:
        keys = [VoiceKey(id=voice_id, key=key)] * 2
        return SessionRequest(purpose="research", consent=True, voices=keys)

    assert await store.voice_ids((await store.create(asked(voice.key))).id) == [voice.record.id]
    with pytest.raises(WrongVoiceKey):
        await store.create(asked("guess"))
    with pytest.raises(UnknownVoice):
        await store.create(asked(voice.key, "nobody"))


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
