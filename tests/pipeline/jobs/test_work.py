"""Uploaded recordings in a real Redis: what workers write until a recording is over, and what they find left undone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from pipeline.job import RUNNING, WAITING, RecordingRequest, State, Superseded, UnknownRecording
from pipeline.jobs import BLOBS, JobStore
from pipeline.published import session_key
from pipeline.session import Role, UnknownSession
from pipeline.store import SessionStore
from pipeline.webhooks import WebhookStore, new_event
from pipeline.work import Work
from tests.pipeline.jobs.recordings import (
    ONE,
    RETENTION,
    THREE,
    TWO,
    UPLOAD,
    create,
    keys_of,
    publish,
    settled,
)


async def test_a_worker_begins_and_fences_off_the_one_before(jobs: JobStore, work: Work) -> None:
    await create(jobs)
    assert await work.begin(ONE, "first") == "go on"
    job = await jobs.job(ONE)
    assert (job.state, job.tries, job.position) == (State.RUNNING, 1, None)
    assert await work.begin(ONE, "second") == "go on"
    assert (await jobs.job(ONE)).started_at == job.started_at
    for write in (work.report(ONE, "first", done=1.0), work.settle(ONE, "first", State.DONE)):
        with pytest.raises(Superseded):
            await write
    assert (await jobs.job(ONE)).done == 0.0
    await work.report(ONE, "second", done=1.0, step="who speaks", progress=0.1)
    job = await jobs.job(ONE)
    assert (job.done, job.step, job.progress, job.tries) == (1.0, "who speaks", 0.1, 2)


async def test_a_worker_that_is_faster_than_the_uploads_answer_is_not_overlooked(jobs: JobStore, work: Work) -> None:
    await create(jobs)
    begun = await asyncio.gather(*(work.begin(ONE, f"w{number}") for number in range(2)))
    assert begun == ["go on", "go on"]
    told = await asyncio.gather(
        *(work.settle(ONE, f"w{number}", State.DONE) for number in range(2)), return_exceptions=True
    )
    assert sorted(map(type, told), key=str) == sorted([type(None), Superseded], key=str), "one of them ends it"


async def test_what_never_gets_further_is_given_up(jobs: JobStore, work: Work) -> None:
    await create(jobs)
    assert [await work.begin(ONE, worker) for worker in "abc"] == ["go on", "go on", "give up"]


async def test_what_gets_further_may_be_begun_again_and_again(jobs: JobStore, work: Work) -> None:
    await create(jobs)
    for number in range(5):
        assert await work.begin(ONE, f"w{number}") == "go on"
        await work.report(ONE, f"w{number}", further=True, done=float(number))
        assert (await jobs.job(ONE)).tries == 1
    await work.begin(ONE, "w")
    await work.report(ONE, "w", done=9.0)
    assert (await jobs.job(ONE)).tries == 2, "a report that tells of nothing new"


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.CANCELLED])
async def test_what_is_over_is_not_begun_again(jobs: JobStore, work: Work, state: State) -> None:
    await create(jobs)
    await settled(work, ONE, state, error="why")
    assert await work.begin(ONE, "late") == state.value
    assert await jobs.workload() == (0, 0)
    with pytest.raises(Superseded):
        await work.settle(ONE, "w", State.DONE)
    job = await jobs.job(ONE)
    assert (job.state, job.step) == (state, None)
    assert job.finished_at
    assert RETENTION - 5 < (job.expires_in or 0) <= RETENTION
    with pytest.raises(Superseded):
        await work.report(ONE, "w", done=1.0)


async def test_what_is_gone_is_unknown_to_its_worker(jobs: JobStore, work: Work, redis: Any) -> None:
    await create(jobs)
    await work.begin(ONE, "w")
    await jobs.erase(ONE)
    for write in (work.report(ONE, "w", done=1.0), work.settle(ONE, "w", State.DONE), work.adopt(ONE, 1.0, "models")):
        with pytest.raises(UnknownRecording):
            await write
    assert await work.begin(ONE, "w") == "unknown"
    await jobs.without_sound(ONE)
    await jobs.enqueued(ONE)  # by whoever was about to say so as it was erased
    event = new_event("recording.failed", {"id": ONE})
    assert not await WebhookStore(redis).schedule(ONE, "http://127.0.0.1:9/", "whsec_secret", event, 60)
    assert await WebhookStore(redis).claim(time.time() + 1, 60) is None
    assert await keys_of(redis, ONE) == set()


@pytest.mark.parametrize(("then", "speaker"), [("models", 1), ("others", 2)])
async def test_what_other_models_had_begun_to_publish_goes(
    jobs: JobStore, work: Work, sessions: SessionStore, then: str, speaker: int
) -> None:
    await create(jobs)
    await work.begin(ONE, "w")
    await publish(work, ONE)
    await work.begin(ONE, "another")
    await publish(work, ONE, models=then, speaker=2)
    timeline = await sessions.timeline(ONE)
    assert [turn.speaker for turn in timeline.turns.values()] == [speaker]
    assert timeline.ended


async def test_notes_are_kept_until_the_end(jobs: JobStore, work: Work, redis: Any) -> None:
    await create(jobs)
    await work.begin(ONE, "w")
    assert await work.noted(ONE, "units-0-0") is None
    await work.note(ONE, "w", "units-0-0", b"\x00\xff")
    assert await work.noted(ONE, "units-0-0") == b"\x00\xff"
    await work.begin(ONE, "another")
    assert await work.noted(ONE, "units-0-0") == b"\x00\xff"
    await work.settle(ONE, "another", State.DONE)
    assert not await redis.exists(session_key(ONE, "notes"))


@pytest.mark.parametrize("over", ["settled", "erased", "taken over"])
async def test_notes_do_not_outlive_what_they_are_of(jobs: JobStore, work: Work, redis: Any, over: str) -> None:
    """What was still being heard when a recording was erased, or cancelled, used to be noted for another month."""
    await create(jobs)
    await work.begin(ONE, "w")
    match over:
        case "settled":
            await work.settle(ONE, "w", State.CANCELLED)
        case "erased":
            await jobs.erase(ONE)
        case "taken over":
            await work.begin(ONE, "another")
    await work.note(ONE, "w", "units-0-1", b"voiceprints")
    assert not await redis.exists(session_key(ONE, "notes"))


@pytest.mark.parametrize("state", [State.CANCELLED, State.FAILED])
async def test_what_was_not_heard_to_its_end_is_no_session(
    jobs: JobStore, work: Work, sessions: SessionStore, redis: Any, state: State
) -> None:
    """Its turns, published before its readings, used to stay under its id where it was cancelled in between."""
    await create(jobs)
    await work.begin(ONE, "w")
    await publish(work, ONE)
    await work.settle(ONE, "w", state)
    with pytest.raises(UnknownSession):
        await sessions.timeline(ONE)
    assert (await jobs.job(ONE)).state is state
    assert not await redis.exists(session_key(ONE, "events"))


async def test_a_recording_that_was_heard_is_a_session_that_has_ended(
    jobs: JobStore, work: Work, sessions: SessionStore
) -> None:
    await create(jobs, name="Monday", min_speakers=2)
    await work.begin(ONE, "w")
    for _ in range(2):  # as after the loss of a worker
        await publish(work, ONE)
    await work.settle(ONE, "w", State.DONE)
    record, timeline = await sessions.record(ONE), await sessions.timeline(ONE)
    assert (record.name, record.purpose, record.stopped, record.min_speakers) == ("Monday", "research", True, 2)
    assert record.created_at == (await jobs.job(ONE)).created_at
    assert (timeline.ended, timeline.heard_until, len(timeline.turns)) == (True, 12.5, 1)
    kinds = [event.type for _, event in await sessions.events(ONE)]
    assert kinds == ["session.started", "turn.updated", "session.ended"]
    assert await sessions.role(ONE, "mine") is Role.RECORDER
    assert await sessions.role(ONE, f"view-{ONE}") is Role.VIEWER


async def test_a_worker_that_died_after_settling_leaves_nothing_undone(jobs: JobStore, work: Work, redis: Any) -> None:
    """Redis was away after the job was settled: the recording used to count as being heard, and was no dead letter."""
    await create(jobs)
    await work.begin(ONE, "w")
    await work.note(ONE, "w", "units-0-0", b"heard")
    settle = [session_key(ONE, "job")], ["w", "failed", time.time(), round(1000 * RETENTION), "retryable", 1]
    assert await work._settle(keys=settle[0], args=settle[1]) == b"ok"
    assert await work.begin(ONE, "next") == "failed"
    assert await jobs.workload() == (0, 0)
    assert [job.id for job in await jobs.given_up()] == [ONE]
    assert not await redis.exists(session_key(ONE, "notes"))
    assert await redis.zscore(BLOBS, ONE) == pytest.approx(time.time() + RETENTION, abs=5)


async def test_a_recording_without_a_sign_of_life_waits_again(jobs: JobStore, work: Work, redis: Any) -> None:
    """A worker that was taken for dead, and was not, takes its recording off the queue when it gives it back. Should
    the next one die then, the recording used to be one that is being heard, by nobody, for ever."""
    await create(jobs)
    await create(jobs, TWO)
    await work.begin(ONE, "w")
    await work.begin(TWO, "w")
    await work.note(ONE, "w", "units-0-0", b"heard")
    assert await work.lost(older_than=5) == []
    await redis.zadd(RUNNING, {ONE: time.time() - 6})
    assert await work.lost(older_than=5) == [ONE]
    job = await jobs.job(ONE)
    assert (job.state, job.position, job.tries) == (State.QUEUED, 1, 1)
    assert await jobs.workload() == (1, 1)
    assert await work.not_enqueued(older_than=0) == [ONE]
    with pytest.raises(Superseded):
        await work.report(ONE, "w", done=1.0)
    assert await work.begin(ONE, "next") == "go on"
    assert await work.noted(ONE, "units-0-0") == b"heard"


async def test_what_is_over_or_gone_is_not_counted_for_long(jobs: JobStore, work: Work, redis: Any) -> None:
    await create(jobs)
    await settled(work, ONE, State.DONE)
    await redis.zadd(RUNNING, {ONE: time.time() - 6, TWO: time.time() - 6})
    assert await work.lost(older_than=5) == []
    assert await jobs.workload() == (0, 0)
    assert (await jobs.job(ONE)).state is State.DONE


async def test_what_the_queue_was_never_told_of_is_found(jobs: JobStore, work: Work, redis: Any) -> None:
    await jobs.create(ONE, RecordingRequest(purpose="research", consent=True), UPLOAD, "mine", "v", "s")
    await create(jobs, TWO)
    assert await work.not_enqueued(older_than=60) == []
    assert await work.not_enqueued(older_than=0) == [ONE]
    await jobs.enqueued(ONE)
    assert await work.not_enqueued(older_than=0) == []
    await redis.zadd(WAITING, {THREE: 1.0})  # one that broke off before its job was written
    assert await work.not_enqueued(older_than=0) == []
    assert await jobs.workload() == (2, 0)
