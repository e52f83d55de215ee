"""Uploaded recordings in a real Redis: what people want of those that wait, are heard, or were given up."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.job import Cancelled, State
from pipeline.jobs import DEAD, JobStore
from pipeline.published import session_key
from pipeline.work import Work
from tests.pipeline.jobs.recordings import ONE, THREE, TWO, create, settled


async def test_cancelling_what_waits_ends_it_at_once(jobs: JobStore, work: Work) -> None:
    await create(jobs)
    assert await jobs.cancel(ONE) is State.QUEUED
    job = await jobs.job(ONE)
    assert (job.state, job.position) == (State.CANCELLED, None)
    assert job.finished_at
    assert await jobs.cancel(ONE) is State.CANCELLED
    assert await work.begin(ONE, "w") == "cancelled"


async def test_cancelling_what_is_heard_stops_its_worker(jobs: JobStore, work: Work) -> None:
    await create(jobs)
    await work.begin(ONE, "w")
    assert await jobs.cancel(ONE) is State.RUNNING
    assert (await jobs.job(ONE)).state is State.RUNNING
    for write in (work.report(ONE, "w", done=1.0), work.settle(ONE, "w", State.DONE)):
        with pytest.raises(Cancelled):
            await write
    assert await work.begin(ONE, "next") == "cancel", "the worker died before it could stop"
    await work.settle(ONE, "next", State.CANCELLED)
    assert (await jobs.job(ONE)).state is State.CANCELLED


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.CANCELLED])
async def test_what_is_over_cannot_be_cancelled(jobs: JobStore, work: Work, state: State) -> None:
    await create(jobs)
    await settled(work, ONE, state)
    assert await jobs.cancel(ONE) is state
    assert (await jobs.job(ONE)).state is state


async def test_what_was_given_up_can_be_sent_again(jobs: JobStore, work: Work) -> None:
    await create(jobs)
    await create(jobs, TWO)
    await work.begin(ONE, "w")
    await work.report(ONE, "w", done=60.0, progress=0.5, step="who speaks")
    await work.settle(ONE, "w", State.FAILED, error="It was begun 2 times.", retryable=1)
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
    assert await work.not_enqueued(older_than=0) == [ONE]
    with pytest.raises(ValueError, match="queued"):
        await jobs.retry(ONE)
    assert await work.begin(ONE, "w") == "go on"


async def test_the_given_up_are_listed_oldest_first_without_the_gone(jobs: JobStore, work: Work, redis: Any) -> None:
    for recording in (ONE, TWO, THREE):
        await create(jobs, recording)
        await settled(work, recording, State.FAILED, retryable=1)
    await redis.delete(session_key(TWO, "job"))
    assert [job.id for job in await jobs.given_up()] == [ONE, THREE]
    assert await redis.zrange(DEAD, 0, -1) == [ONE.encode(), THREE.encode()]


async def test_what_failed_for_good_is_no_dead_letter(jobs: JobStore, work: Work) -> None:
    await create(jobs)
    await settled(work, ONE, State.FAILED, error="This is no recording.")
    assert await jobs.given_up() == []
    with pytest.raises(ValueError, match="failed"):
        await jobs.retry(ONE)
