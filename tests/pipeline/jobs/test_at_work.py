"""Uploaded recordings in a real Redis: who hears them, to their end or until they are given up."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pipeline.job import (
    RUNNING,
    Cancelled,
    State,
    Superseded,
    UnknownRecording,
)
from pipeline.jobs import BLOBS, DEAD, JobStore
from pipeline.published import session_key
from pipeline.session import Role, UnknownSession
from pipeline.store import SessionStore
from pipeline.webhooks import WebhookStore, new_event
from tests.pipeline.jobs.recordings import (
    ONE,
    RETENTION,
    THREE,
    TWO,
    create,
    keys_of,
    publish,
    settled,
)


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
