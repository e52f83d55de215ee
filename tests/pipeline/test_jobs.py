"""Uploaded recordings in a real Redis, from the first byte to the day on which nothing is left of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from pipeline import jobs as module
from pipeline.job import (
    RUNNING,
    WAITING,
    Cancelled,
    Job,
    RecordingRequest,
    State,
    Superseded,
    UnknownRecording,
    Upload,
)
from pipeline.jobs import ABSENT, ARRIVING, BLOBS, DEAD, JobStore, known_key, owner_key
from pipeline.keys import digest
from pipeline.published import session_key
from pipeline.recording import Heard
from pipeline.session import Role, UnknownSession
from pipeline.store import SessionStore, connect
from pipeline.timeline import Turn
from pipeline.webhooks import WebhookStore, new_event
from tests.service import running_redis

ONE, TWO, THREE = "1" * 16, "2" * 16, "3" * 16
UPLOAD = Upload(file="talk.m4a", bytes=1_000, media_type="audio/mp4", seconds=12.5, channels=2)
RETENTION, PATIENCE = 600.0, module.PATIENCE


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
async def redis(url: str) -> AsyncIterator[Redis]:
    client = connect(url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
def sessions(redis: Redis) -> SessionStore:
    return SessionStore(redis, RETENTION)


@pytest.fixture
def jobs(redis: Redis, sessions: SessionStore) -> JobStore:
    return JobStore(redis, sessions, RETENTION, tries=2)


async def create(jobs: JobStore, recording: str = ONE, key: str = "mine", **said: Any) -> Job:
    request = RecordingRequest(purpose="research", consent=True, **said)
    await jobs.arriving(recording)
    await jobs.create(recording, request, UPLOAD, key, f"view-{recording}", "whsec_secret")
    await jobs.enqueued(recording)
    return await jobs.job(recording)


async def settled(jobs: JobStore, recording: str, state: State, **fields: Any) -> None:
    assert await jobs.begin(recording, "w") in ("go on", "give up")
    await jobs.settle(recording, "w", state, **fields)


async def publish(jobs: JobStore, recording: str, seconds: float = 12.5) -> None:
    await jobs.adopt(recording, seconds)
    turn = Turn(id=0, speaker=1, start=1.0, end=2.0, final=True)
    for number, events in enumerate(Heard(seconds, [turn], [], iter([])).told("research")):
        await jobs.publish(recording, number, events)


async def keys_of(redis: Any, recording: str) -> set[str]:
    """Every key that names a recording or lists it, whatever its type."""
    found = set()
    async for key in redis.scan_iter():
        name, kind = key.decode(), await redis.type(key)
        members = await redis.zrange(key, 0, -1) if kind == b"zset" else []
        if recording in name or recording.encode() in members:
            found.add(name)
    return found


async def test_a_recording_is_what_was_sent_and_said(jobs: JobStore) -> None:
    job = await create(jobs, name="Monday", min_speakers=2, keep_audio=True, language="de-CH", channels="mix")
    assert (job.state, job.position, job.progress, job.tries, job.expires_in) == (State.QUEUED, 1, 0.0, 0, None)
    assert (job.name, job.purpose, job.file, job.bytes, job.seconds) == ("Monday", "research", "talk.m4a", 1_000, 12.5)
    assert (job.channels, job.channels_as, job.min_speakers, job.max_speakers) == (2, "mix", 2, None)
    assert (job.audio, job.keep_audio, job.language, job.diariser, job.webhook) == (True, True, "de-CH", None, "")
    assert time.time() - job.created_at < 5


async def test_a_recording_without_a_name_has_its_files(jobs: JobStore) -> None:
    assert (await create(jobs)).name == "talk.m4a"
    unnamed = UPLOAD.model_copy(update={"file": ""})
    await jobs.create(TWO, RecordingRequest(purpose="research", consent=True), unnamed, "mine", "v", "s")
    assert (await jobs.job(TWO)).name == "recording"


async def test_keys_open_what_they_should_and_are_not_kept(jobs: JobStore, redis: Any) -> None:
    await create(jobs, key="a-key-of-mine")
    assert await jobs.role(ONE, "a-key-of-mine") is Role.RECORDER
    assert await jobs.role(ONE, f"view-{ONE}") is Role.VIEWER
    assert await jobs.role(ONE, "guess") is None
    assert await jobs.known_owner("a-key-of-mine")
    assert not await jobs.known_owner(f"view-{ONE}")
    for read in (jobs.role(TWO, "guess"), jobs.job(TWO), jobs.webhook(TWO), jobs.cancel(TWO), jobs.retry(TWO)):
        with pytest.raises(UnknownRecording):
            await read
    at_rest = b"".join((await redis.hgetall(session_key(ONE, "job"))).values())
    assert b"a-key-of-mine" not in at_rest
    assert b"view-" not in at_rest
    assert await jobs.webhook(ONE) == ("", "whsec_secret")


async def test_what_is_there_is_not_taken_in_over(jobs: JobStore, redis: Any) -> None:
    first = await create(jobs, key="mine")
    listed_before = await redis.zrange(owner_key(digest("mine")), 0, -1, withscores=True)
    request = RecordingRequest(purpose="therapy", consent=True)
    with pytest.raises(Superseded):
        await jobs.create(ONE, request, UPLOAD, "mine", "v", "s")
    assert await jobs.job(ONE) == first
    assert await redis.zrange(owner_key(digest("mine")), 0, -1, withscores=True) == listed_before


async def test_of_those_who_take_in_the_same_at_once_one_does(jobs: JobStore) -> None:
    request = RecordingRequest(purpose="research", consent=True)
    told = await asyncio.gather(
        *(jobs.create(ONE, request, UPLOAD, "mine", "v", "s") for _ in range(8)), return_exceptions=True
    )
    assert told.count(None) == 1
    assert sum(isinstance(one, Superseded) for one in told) == 7


async def test_a_key_outlives_what_is_under_it(jobs: JobStore, redis: Any) -> None:
    await create(jobs, key="mine")
    await jobs.erase(ONE)
    assert not await redis.exists(owner_key(digest("mine")))
    known = known_key(digest("mine"))
    await redis.pexpire(known, 5_000)
    assert await jobs.known_owner("mine")
    assert await redis.pttl(known) == pytest.approx(1000 * (RETENTION + PATIENCE), abs=5_000), "using it prolongs that"
    assert await jobs.owned("mine", None, 10) == []
    await redis.delete(known)
    assert not await jobs.known_owner("mine")


async def test_places_in_the_queue_move_up(jobs: JobStore) -> None:
    for recording in (ONE, TWO, THREE):
        await create(jobs, recording)
    assert [(await jobs.job(one)).position for one in (ONE, TWO, THREE)] == [1, 2, 3]
    assert await jobs.workload() == (3, 0)
    await jobs.begin(ONE, "w")
    assert [(await jobs.job(one)).position for one in (ONE, TWO, THREE)] == [None, 1, 2]
    assert await jobs.workload() == (2, 1)
    await jobs.cancel(TWO)
    assert (await jobs.job(THREE)).position == 1
    assert await jobs.workload() == (1, 1)


async def listed(jobs: JobStore, limit: int, key: str = "mine") -> list[list[str]]:
    """All pages, as the route asks for them."""
    pages: list[list[str]] = []
    before: float | None = None
    while page := await jobs.owned(key, before, limit):
        pages.append([job.id for job in page])
        before = float(repr(page[-1].created_at))
    return pages


async def test_pages_hold_every_recording_once_newest_first(jobs: JobStore) -> None:
    ids = [f"{number:016x}" for number in range(7)]
    for recording in ids:
        await create(jobs, recording)
    await create(jobs, "f" * 16, key="somebody else's")
    newest = ids[::-1]
    assert await listed(jobs, 3) == [newest[:3], newest[3:6], newest[6:]]
    assert await listed(jobs, 7) == [newest]
    assert await listed(jobs, 50) == [newest]
    assert await listed(jobs, 50, key="nobody's") == []


async def test_recordings_of_one_instant_are_all_listed(jobs: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an instant was shared by two, and a page ended between them, the second used to be on no page."""
    monkeypatch.setattr(module.time, "time", lambda: 1_767_225_600.25)
    ids = [f"{number:016x}" for number in range(5)]
    for recording in ids:
        await create(jobs, recording)
    assert await listed(jobs, 2) == [ids[:2:-1], ids[2:0:-1], ids[:1]]


async def test_what_has_expired_is_passed_over(jobs: JobStore, redis: Any) -> None:
    ids = [f"{number:016x}" for number in range(6)]
    for recording in ids:
        await create(jobs, recording)
    await redis.delete(*(session_key(one, "job") for one in ids[2:5]))
    assert await listed(jobs, 2) == [[ids[5], ids[1]], [ids[0]]]
    assert await redis.zcard(owner_key(digest("mine"))) == 3


async def test_a_worker_begins_and_fences_off_the_one_before(jobs: JobStore) -> None:
    await create(jobs)
    assert await jobs.begin(ONE, "first") == "go on"
    job = await jobs.job(ONE)
    assert (job.state, job.tries, job.position) == (State.RUNNING, 1, None)
    assert await jobs.begin(ONE, "second") == "go on"
    assert (await jobs.job(ONE)).started_at == job.started_at
    for write in (jobs.report(ONE, "first", done=1.0), jobs.settle(ONE, "first", State.DONE)):
        with pytest.raises(Superseded):
            await write
    assert (await jobs.job(ONE)).done == 0.0
    await jobs.report(ONE, "second", done=1.0, step="who speaks", progress=0.1)
    job = await jobs.job(ONE)
    assert (job.done, job.step, job.progress, job.tries) == (1.0, "who speaks", 0.1, 2)


async def test_what_never_gets_further_is_given_up(jobs: JobStore) -> None:
    await create(jobs)
    assert [await jobs.begin(ONE, worker) for worker in "abc"] == ["go on", "go on", "give up"]


async def test_what_gets_further_may_be_begun_again_and_again(jobs: JobStore) -> None:
    await create(jobs)
    for number in range(5):
        assert await jobs.begin(ONE, f"w{number}") == "go on"
        await jobs.report(ONE, f"w{number}", further=True, done=float(number))
        assert (await jobs.job(ONE)).tries == 1
    await jobs.begin(ONE, "w")
    await jobs.report(ONE, "w", done=9.0)
    assert (await jobs.job(ONE)).tries == 2, "a report that tells of nothing new"


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.CANCELLED])
async def test_what_is_over_is_not_begun_again(jobs: JobStore, state: State) -> None:
    await create(jobs)
    await settled(jobs, ONE, state, error="why")
    assert await jobs.begin(ONE, "late") == state.value
    assert await jobs.workload() == (0, 0)
    with pytest.raises(Superseded):
        await jobs.settle(ONE, "w", State.DONE)
    job = await jobs.job(ONE)
    assert (job.state, job.step) == (state, None)
    assert job.finished_at
    assert RETENTION - 5 < (job.expires_in or 0) <= RETENTION
    with pytest.raises(Superseded):
        await jobs.report(ONE, "w", done=1.0)


async def test_what_is_gone_is_unknown_to_its_worker(jobs: JobStore, redis: Any) -> None:
    await create(jobs)
    await jobs.begin(ONE, "w")
    await jobs.erase(ONE)
    for write in (jobs.report(ONE, "w", done=1.0), jobs.settle(ONE, "w", State.DONE), jobs.adopt(ONE, 1.0)):
        with pytest.raises(UnknownRecording):
            await write
    assert await jobs.begin(ONE, "w") == "unknown"
    await jobs.without_sound(ONE)
    await jobs.enqueued(ONE)  # by whoever was about to say so as it was erased
    event = new_event("recording.failed", {"id": ONE})
    assert not await WebhookStore(redis).schedule(ONE, "http://127.0.0.1:9/", "whsec_secret", event, 60)
    assert await WebhookStore(redis).claim(time.time() + 1, 60) is None
    assert await keys_of(redis, ONE) == set()


async def test_notes_are_kept_until_the_end(jobs: JobStore, redis: Any) -> None:
    await create(jobs)
    await jobs.begin(ONE, "w")
    assert await jobs.noted(ONE, "units-0-0") is None
    await jobs.note(ONE, "w", "units-0-0", b"\x00\xff")
    assert await jobs.noted(ONE, "units-0-0") == b"\x00\xff"
    await jobs.begin(ONE, "another")
    assert await jobs.noted(ONE, "units-0-0") == b"\x00\xff"
    await jobs.settle(ONE, "another", State.DONE)
    assert not await redis.exists(session_key(ONE, "notes"))


@pytest.mark.parametrize("over", ["settled", "erased", "taken over"])
async def test_notes_do_not_outlive_what_they_are_of(jobs: JobStore, redis: Any, over: str) -> None:
    """What was still being heard when a recording was erased, or cancelled, used to be noted for another month."""
    await create(jobs)
    await jobs.begin(ONE, "w")
    match over:
        case "settled":
            await jobs.settle(ONE, "w", State.CANCELLED)
        case "erased":
            await jobs.erase(ONE)
        case "taken over":
            await jobs.begin(ONE, "another")
    await jobs.note(ONE, "w", "units-0-1", b"voiceprints")
    assert not await redis.exists(session_key(ONE, "notes"))


async def test_cancelling_what_waits_ends_it_at_once(jobs: JobStore) -> None:
    await create(jobs)
    assert await jobs.cancel(ONE) is State.QUEUED
    job = await jobs.job(ONE)
    assert (job.state, job.position) == (State.CANCELLED, None)
    assert job.finished_at
    assert await jobs.cancel(ONE) is State.CANCELLED
    assert await jobs.begin(ONE, "w") == "cancelled"


async def test_cancelling_what_is_heard_stops_its_worker(jobs: JobStore) -> None:
    await create(jobs)
    await jobs.begin(ONE, "w")
    assert await jobs.cancel(ONE) is State.RUNNING
    assert (await jobs.job(ONE)).state is State.RUNNING
    for write in (jobs.report(ONE, "w", done=1.0), jobs.settle(ONE, "w", State.DONE)):
        with pytest.raises(Cancelled):
            await write
    assert await jobs.begin(ONE, "next") == "cancel", "the worker died before it could stop"
    await jobs.settle(ONE, "next", State.CANCELLED)
    assert (await jobs.job(ONE)).state is State.CANCELLED


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.CANCELLED])
async def test_what_is_over_cannot_be_cancelled(jobs: JobStore, state: State) -> None:
    await create(jobs)
    await settled(jobs, ONE, state)
    assert await jobs.cancel(ONE) is state
    assert (await jobs.job(ONE)).state is state


@pytest.mark.parametrize("state", [State.CANCELLED, State.FAILED])
async def test_what_was_not_heard_to_its_end_is_no_session(
    jobs: JobStore, sessions: SessionStore, redis: Any, state: State
) -> None:
    """Its turns, published before its readings, used to stay under its id where it was cancelled in between."""
    await create(jobs)
    await jobs.begin(ONE, "w")
    await publish(jobs, ONE)
    await jobs.settle(ONE, "w", state)
    with pytest.raises(UnknownSession):
        await sessions.timeline(ONE)
    assert (await jobs.job(ONE)).state is state
    assert not await redis.exists(session_key(ONE, "events"))


async def test_a_recording_that_was_heard_is_a_session_that_has_ended(jobs: JobStore, sessions: SessionStore) -> None:
    await create(jobs, name="Monday", min_speakers=2)
    await jobs.begin(ONE, "w")
    for _ in range(2):  # as after the loss of a worker
        await publish(jobs, ONE)
    await jobs.settle(ONE, "w", State.DONE)
    record, timeline = await sessions.record(ONE), await sessions.timeline(ONE)
    assert (record.name, record.purpose, record.stopped, record.min_speakers) == ("Monday", "research", True, 2)
    assert record.created_at == (await jobs.job(ONE)).created_at
    assert (timeline.ended, timeline.heard_until, len(timeline.turns)) == (True, 12.5, 1)
    kinds = [event.type for _, event in await sessions.events(ONE)]
    assert kinds == ["session.started", "turn.updated", "session.ended"]
    assert await sessions.role(ONE, "mine") is Role.RECORDER
    assert await sessions.role(ONE, f"view-{ONE}") is Role.VIEWER


async def test_what_was_given_up_can_be_sent_again(jobs: JobStore) -> None:
    await create(jobs)
    await create(jobs, TWO)
    await jobs.begin(ONE, "w")
    await jobs.report(ONE, "w", done=60.0, progress=0.5, step="who speaks")
    await jobs.settle(ONE, "w", State.FAILED, error="It was begun 2 times.", retryable=1)
    assert [(job.id, job.retryable, job.error) for job in await jobs.given_up()] == [
        (ONE, True, "It was begun 2 times.")
    ]
    with pytest.raises(ValueError, match=r"this recording is queued\.$"):
        await jobs.retry(TWO)
    await jobs.retry(ONE)
    job = await jobs.job(ONE)
    assert (job.state, job.position, job.tries, job.error, job.retryable) == (State.QUEUED, 2, 0, None, False)
    assert (job.started_at, job.finished_at, job.expires_in, job.step) == (None, None, None, None)
    assert (job.done, job.progress) == (0.0, 0.0), "its notes are gone; it begins anew"
    assert await jobs.given_up() == []
    assert await jobs.not_enqueued(older_than=0) == [ONE]
    with pytest.raises(ValueError, match="queued"):
        await jobs.retry(ONE)
    assert await jobs.begin(ONE, "w") == "go on"


async def test_the_given_up_are_listed_oldest_first_without_the_gone(jobs: JobStore, redis: Any) -> None:
    for recording in (ONE, TWO, THREE):
        await create(jobs, recording)
        await settled(jobs, recording, State.FAILED, retryable=1)
    await redis.delete(session_key(TWO, "job"))
    assert [job.id for job in await jobs.given_up()] == [ONE, THREE]
    assert await redis.zrange(DEAD, 0, -1) == [ONE.encode(), THREE.encode()]


async def test_what_failed_for_good_is_no_dead_letter(jobs: JobStore) -> None:
    await create(jobs)
    await settled(jobs, ONE, State.FAILED, error="This is no recording.")
    assert await jobs.given_up() == []
    with pytest.raises(ValueError, match="failed"):
        await jobs.retry(ONE)


async def test_a_worker_that_died_after_settling_leaves_nothing_undone(jobs: JobStore, redis: Any) -> None:
    """Redis was away after the job was settled: the recording used to count as being heard, and was no dead letter."""
    await create(jobs)
    await jobs.begin(ONE, "w")
    await jobs.note(ONE, "w", "units-0-0", b"heard")
    settle = [session_key(ONE, "job")], ["w", "failed", time.time(), round(1000 * RETENTION), "retryable", 1]
    assert await jobs._settle(keys=settle[0], args=settle[1]) == b"ok"
    assert await jobs.begin(ONE, "next") == "failed"
    assert await jobs.workload() == (0, 0)
    assert [job.id for job in await jobs.given_up()] == [ONE]
    assert not await redis.exists(session_key(ONE, "notes"))
    assert await redis.zscore(BLOBS, ONE) == pytest.approx(time.time() + RETENTION, abs=5)


async def test_a_recording_without_a_sign_of_life_waits_again(jobs: JobStore, redis: Any) -> None:
    """A worker that was taken for dead, and was not, takes its recording off the queue when it gives it back. Should
    the next one die then, the recording used to be one that is being heard, by nobody, for ever."""
    await create(jobs)
    await create(jobs, TWO)
    await jobs.begin(ONE, "w")
    await jobs.begin(TWO, "w")
    await jobs.note(ONE, "w", "units-0-0", b"heard")
    assert await jobs.lost(older_than=5) == []
    await redis.zadd(RUNNING, {ONE: time.time() - 6})
    assert await jobs.lost(older_than=5) == [ONE]
    job = await jobs.job(ONE)
    assert (job.state, job.position, job.tries) == (State.QUEUED, 1, 1)
    assert await jobs.workload() == (1, 1)
    assert await jobs.not_enqueued(older_than=0) == [ONE]
    with pytest.raises(Superseded):
        await jobs.report(ONE, "w", done=1.0)
    assert await jobs.begin(ONE, "next") == "go on"
    assert await jobs.noted(ONE, "units-0-0") == b"heard"


async def test_what_is_over_or_gone_is_not_counted_for_long(jobs: JobStore, redis: Any) -> None:
    await create(jobs)
    await settled(jobs, ONE, State.DONE)
    await redis.zadd(RUNNING, {ONE: time.time() - 6, TWO: time.time() - 6})
    assert await jobs.lost(older_than=5) == []
    assert await jobs.workload() == (0, 0)
    assert (await jobs.job(ONE)).state is State.DONE


async def test_what_the_queue_was_never_told_of_is_found(jobs: JobStore, redis: Any) -> None:
    await jobs.create(ONE, RecordingRequest(purpose="research", consent=True), UPLOAD, "mine", "v", "s")
    await create(jobs, TWO)
    assert await jobs.not_enqueued(older_than=60) == []
    assert await jobs.not_enqueued(older_than=0) == [ONE]
    await jobs.enqueued(ONE)
    assert await jobs.not_enqueued(older_than=0) == []
    await redis.zadd(WAITING, {THREE: 1.0})  # one that broke off before its job was written
    assert await jobs.not_enqueued(older_than=0) == []
    assert await jobs.workload() == (2, 0)


async def test_sound_goes_when_its_time_is_over(jobs: JobStore, redis: Any) -> None:
    await create(jobs)
    assert await redis.zscore(BLOBS, ONE) == pytest.approx(time.time() + RETENTION + PATIENCE, abs=5)
    await settled(jobs, ONE, State.DONE)
    assert await redis.zscore(BLOBS, ONE) == pytest.approx(time.time() + RETENTION, abs=5)
    assert await jobs.due_blobs() == []
    await redis.zadd(BLOBS, {ONE: time.time() - 1})
    assert await jobs.due_blobs() == [ONE]
    await jobs.without_sound(ONE)
    assert await jobs.due_blobs() == []
    assert not (await jobs.job(ONE)).audio
    assert await jobs.begin(ONE, "late") == "done"
    assert not await redis.zscore(BLOBS, ONE), "what has no sound is not listed again"


async def test_how_full_redis_is(jobs: JobStore, redis: Redis) -> None:
    assert await jobs.memory_ratio() is None
    await redis.config_set("maxmemory", 10**9)
    assert 0 < (await jobs.memory_ratio() or 0) < 0.1
    await redis.config_set("maxmemory", 0)


async def test_sound_of_what_was_erased_as_a_session_goes(jobs: JobStore, sessions: SessionStore) -> None:
    await create(jobs)
    await settled(jobs, ONE, State.DONE)
    await sessions.erase(ONE)
    assert await jobs.due_blobs() == [ONE]


async def test_sound_that_arrives_is_left_alone_and_goes_when_nobody_comes_back(jobs: JobStore, redis: Any) -> None:
    await jobs.arriving(ONE)
    await jobs.arriving(TWO)
    assert await jobs.due_blobs() == []
    await redis.zadd(ARRIVING, {ONE: time.time() - ABSENT - 1})
    assert await jobs.due_blobs() == [ONE]
    await jobs.without_sound(ONE)
    assert await jobs.due_blobs() == []
    assert await keys_of(redis, ONE) == set()


@pytest.mark.parametrize("question", ["exists", "zscore"])
async def test_sound_that_becomes_a_recording_meanwhile_is_left_alone(
    jobs: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    await jobs.arriving(ONE)
    ask = getattr(redis, question)

    async def slowly(*args: Any) -> Any:
        answer = await ask(*args)
        monkeypatch.setattr(redis, question, ask)
        await create(jobs)
        return answer

    monkeypatch.setattr(redis, question, slowly)
    assert await jobs.due_blobs() == []


@pytest.mark.parametrize("state", ["arriving", "queued", "running", "done", "given up", "cancelled"])
async def test_erasing_leaves_nothing(jobs: JobStore, redis: Any, state: str) -> None:
    await create(jobs, TWO)
    before = {key async for key in redis.scan_iter()}
    if state == "arriving":
        await jobs.arriving(ONE)
    else:
        await create(jobs, webhook="https://example.org/heard")
    if state == "cancelled":
        await jobs.cancel(ONE)
    if state in ("running", "done", "given up"):
        await jobs.begin(ONE, "w")
        await jobs.note(ONE, "w", "units-0-0", b"heard")
        await publish(jobs, ONE)
    if state == "done":
        await jobs.settle(ONE, "w", State.DONE)
    if state == "given up":
        await jobs.settle(ONE, "w", State.FAILED, retryable=1)
    assert await keys_of(redis, ONE)
    await jobs.erase(ONE)
    await jobs.without_sound(ONE)  # as the inbox does, once the sound is gone
    assert await keys_of(redis, ONE) == set()
    assert {key async for key in redis.scan_iter()} == before
    assert (await jobs.job(TWO)).position == 1


async def test_nothing_is_kept_for_ever(jobs: JobStore, redis: Any) -> None:
    """Every key of a recording expires by itself; the lists are what is left, and they go with what they list."""
    await create(jobs, webhook="https://example.org/heard")
    await jobs.begin(ONE, "w")
    await jobs.note(ONE, "w", "units-0-0", b"heard")
    await publish(jobs, ONE)
    lists = {WAITING, RUNNING, DEAD, BLOBS, ARRIVING}
    for waits in (True, False):
        limit = 1000 * (RETENTION + PATIENCE if waits else RETENTION)
        async for key in redis.scan_iter():
            left = await redis.pttl(key)
            if key.decode() in (owner_key(digest("mine")), known_key(digest("mine"))):
                assert 0 < left <= 1000 * (RETENTION + PATIENCE)
            elif key.decode() not in lists:
                assert 0 < left <= limit, key
        if waits:
            await jobs.settle(ONE, "w", State.DONE)
    assert await redis.pttl(session_key(ONE, "job")) == pytest.approx(1000 * RETENTION, abs=5_000)


async def test_a_worker_that_is_faster_than_the_uploads_answer_is_not_overlooked(jobs: JobStore) -> None:
    await create(jobs)
    begun = await asyncio.gather(*(jobs.begin(ONE, f"w{number}") for number in range(2)))
    assert begun == ["go on", "go on"]
    told = await asyncio.gather(
        *(jobs.settle(ONE, f"w{number}", State.DONE) for number in range(2)), return_exceptions=True
    )
    assert sorted(map(type, told), key=str) == sorted([type(None), Superseded], key=str), "one of them ends it"
