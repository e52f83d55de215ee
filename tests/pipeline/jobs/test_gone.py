"""Uploaded recordings in a real Redis: when their sound goes, and that nothing is left of them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Connection, Redis
from redis.exceptions import RedisError

from deployments.webhooks import announce
from pipeline.job import RUNNING, WAITING, State, Superseded, UnknownRecording
from pipeline.jobs import ABSENT, ARRIVING, BLOBS, DEAD, JobStore, known_key, owner_key
from pipeline.keys import digest
from pipeline.published import session_key
from pipeline.quotas import Quotas
from pipeline.session import UnknownSession
from pipeline.store import SessionStore
from pipeline.webhooks import WebhookStore
from pipeline.work import Work
from tests.pipeline.jobs.recordings import (
    ONE,
    PATIENCE,
    RETENTION,
    TWO,
    create,
    keys_of,
    publish,
    settled,
)


async def test_sound_goes_when_its_time_is_over(jobs: JobStore, work: Work, redis: Any) -> None:
    await create(jobs)
    assert await redis.zscore(BLOBS, ONE) == pytest.approx(time.time() + RETENTION + PATIENCE, abs=5)
    await settled(work, ONE, State.DONE)
    assert await redis.zscore(BLOBS, ONE) == pytest.approx(time.time() + RETENTION, abs=5)
    assert await work.due_blobs() == []
    await redis.zadd(BLOBS, {ONE: time.time() - 1})
    assert await work.due_blobs() == [ONE]
    await jobs.without_sound(ONE)
    assert await work.due_blobs() == []
    assert not (await jobs.job(ONE)).audio
    assert await work.begin(ONE, "late") == "done"
    assert not await redis.zscore(BLOBS, ONE), "what has no sound is not listed again"


async def test_sound_of_what_was_erased_as_a_session_goes(jobs: JobStore, work: Work, sessions: SessionStore) -> None:
    await create(jobs)
    await settled(work, ONE, State.DONE)
    await sessions.erase(ONE)
    assert await work.due_blobs() == [ONE]


async def test_sound_that_arrives_is_left_alone_and_goes_when_nobody_comes_back(
    jobs: JobStore, work: Work, redis: Any
) -> None:
    await jobs.arriving(ONE)
    await jobs.arriving(TWO)
    assert await work.due_blobs() == []
    await redis.zadd(ARRIVING, {ONE: time.time() - ABSENT - 1})
    assert await work.due_blobs() == [ONE]
    await jobs.without_sound(ONE)
    assert await work.due_blobs() == []
    assert await keys_of(redis, ONE) == set()


@pytest.mark.parametrize("question", ["exists", "zscore"])
async def test_sound_that_becomes_a_recording_meanwhile_is_left_alone(
    jobs: JobStore, work: Work, redis: Redis, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    await jobs.arriving(ONE)
    ask = getattr(redis, question)

    async def slowly(*args: Any) -> Any:
        answer = await ask(*args)
        monkeypatch.setattr(redis, question, ask)
        await create(jobs)
        return answer

    monkeypatch.setattr(redis, question, slowly)
    assert await work.due_blobs() == []


@pytest.mark.parametrize("end", ["done", "cancelled", "given up", "erased", "nobody came back with it"])
async def test_a_callers_place_is_free_once_a_recording_waits_no_more(
    jobs: JobStore, work: Work, redis: Any, end: str
) -> None:
    quotas = Quotas(redis)
    assert await quotas.hold_recording("anna", ONE, 1, jobs.longest)
    if end == "nobody came back with it":
        await jobs.arriving(ONE)
        await jobs.without_sound(ONE)  # as the sweep does, once its sound is gone
    else:
        await create(jobs)
        assert not await quotas.hold_recording("anna", TWO, 1, jobs.longest), "it waits"
    if end in ("done", "given up"):
        await work.begin(ONE, "w")
        assert not await quotas.hold_recording("anna", TWO, 1, jobs.longest), "it is being heard"
        await work.settle(ONE, "w", State.DONE if end == "done" else State.FAILED, retryable=int(end == "given up"))
    if end == "cancelled":
        await jobs.cancel(ONE)
    if end == "erased":
        await jobs.erase(ONE)
    assert not await redis.exists(session_key(ONE, "uploader"))
    assert await quotas.hold_recording("anna", TWO, 1, jobs.longest)


@pytest.mark.parametrize("state", ["arriving", "queued", "running", "done", "given up", "cancelled"])
async def test_erasing_leaves_nothing(jobs: JobStore, work: Work, redis: Any, state: str) -> None:
    await create(jobs, TWO)
    before = {key async for key in redis.scan_iter()}
    if state == "arriving":
        await jobs.arriving(ONE)
    else:
        await create(jobs, webhook="https://example.org/heard")
    if state == "cancelled":
        await jobs.cancel(ONE)
    if state in ("running", "done", "given up"):
        await work.begin(ONE, "w")
        await work.note(ONE, "w", "units-0-0", b"heard")
        await publish(work, ONE)
    if state == "done":
        await work.settle(ONE, "w", State.DONE)
    if state == "given up":
        await work.settle(ONE, "w", State.FAILED, retryable=1)
    assert await keys_of(redis, ONE)
    await jobs.erase(ONE)
    await jobs.without_sound(ONE)  # as the inbox does, once the sound is gone
    assert await keys_of(redis, ONE) == set()
    assert {key async for key in redis.scan_iter()} == before
    assert (await jobs.job(TWO)).position == 1


async def heard_to_its_end(jobs: JobStore, work: Work, webhooks: WebhookStore, state: State) -> None:
    """All that a worker writes of a recording, from its first step to its last."""
    await work.begin(ONE, "w")
    await work.report(ONE, "w", done=1.0)
    await work.note(ONE, "w", "units-0-0", b"heard")
    await publish(work, ONE)
    await work.settle(ONE, "w", state, retryable=int(state is State.FAILED))
    await announce(await jobs.job(ONE), jobs, webhooks, RETENTION)
    await work.begin(ONE, "another")


@pytest.mark.parametrize("breaks_off", [False, True])
@pytest.mark.parametrize("state", [State.DONE, State.FAILED])
async def test_erasing_leaves_nothing_whenever_it_falls(
    jobs: JobStore, work: Work, redis: Redis, monkeypatch: pytest.MonkeyPatch, state: State, breaks_off: bool
) -> None:
    """What was erased while its worker was between two steps used to come back as a session with the next of them,
    for a day where the worker died of that; lists went on naming it."""
    webhooks, send = WebhookStore(redis), Connection.send_packed_command
    steps = erased_at = 0

    async def send_after_erasing(connection: Any, *args: Any, **how: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == erased_at:
            monkeypatch.setattr(Connection, "send_packed_command", send)
            await jobs.erase(ONE)
            await webhooks.erase(ONE)
            await jobs.without_sound(ONE)
            monkeypatch.setattr(Connection, "send_packed_command", send_after_erasing)
        if breaks_off and steps > erased_at:
            raise RedisError("the worker has died")
        await send(connection, *args, **how)

    erased = True
    while erased:
        await create(jobs, webhook="https://example.org/heard")
        steps, erased_at = 0, erased_at + 1
        monkeypatch.setattr(Connection, "send_packed_command", send_after_erasing)
        with suppress(UnknownRecording, UnknownSession, Superseded, RedisError):
            await heard_to_its_end(jobs, work, webhooks, state)
        monkeypatch.setattr(Connection, "send_packed_command", send)
        left = await keys_of(redis, ONE)
        if breaks_off:  # then the lists, which whoever reads them checks, may name it
            left = {key for key in left if ONE in key}
        erased = steps >= erased_at
        assert not (erased and left), f"erased before step {erased_at}"
    assert erased_at > 25


async def test_nothing_is_kept_for_ever(jobs: JobStore, work: Work, redis: Any) -> None:
    """Every key of a recording expires by itself; the lists are what is left, and they go with what they list."""
    await create(jobs, webhook="https://example.org/heard")
    await work.begin(ONE, "w")
    await work.note(ONE, "w", "units-0-0", b"heard")
    await publish(work, ONE)
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
            await work.settle(ONE, "w", State.DONE)
    assert await redis.pttl(session_key(ONE, "job")) == pytest.approx(1000 * RETENTION, abs=5_000)
