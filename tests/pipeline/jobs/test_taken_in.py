"""Uploaded recordings in a real Redis: how they are taken in, opened, queued and listed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from pipeline import jobs as module
from pipeline.job import RecordingRequest, State, Superseded, UnknownRecording
from pipeline.jobs import JobStore, known_key, owner_key
from pipeline.keys import WrongKey, digest
from pipeline.published import session_key
from pipeline.session import Role, VoiceKey
from pipeline.store import SessionStore
from pipeline.voiceprint import SIZE
from pipeline.work import Work
from tests.pipeline.jobs.recordings import (
    ONE,
    PATIENCE,
    RETENTION,
    THREE,
    TWO,
    UPLOAD,
    create,
    publish,
    settled,
)


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


async def test_of_enrolled_voices_the_ids_are_kept_and_neither_shown_nor_their_keys(
    jobs: JobStore, sessions: SessionStore, redis: Any
) -> None:
    anna = await sessions.voices.add("Anna", np.eye(1, SIZE, dtype=np.float32)[0], 10.0, "v1", 60)
    keys = [VoiceKey(id=anna.record.id, key=anna.key), VoiceKey(id="gone", key="another-key")]
    job = await create(jobs, voices=[*keys, keys[0]])
    ids, voices = await jobs.voices(ONE, "v1")
    assert (ids, [voice.name for voice in voices]) == ([anna.record.id, "gone"], ["Anna"])
    assert await jobs.voices(ONE, "v2") == (ids, []), "voiceprints of two encoders cannot be compared"
    at_rest = b"".join((await redis.hgetall(session_key(ONE, "job"))).values())
    assert not any(key in text for key in (anna.key, "another-key") for text in (at_rest.decode(), str(job)))
    assert anna.record.id not in job.model_dump_json()
    await create(jobs, TWO)
    assert await jobs.voices(TWO, "v1") == ([], [])


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


async def test_a_key_that_has_leaked_is_replaced(
    jobs: JobStore, work: Work, sessions: SessionStore, redis: Any
) -> None:
    await create(jobs, key="leaked")
    await create(jobs, THREE, key="somebody else's")
    await work.begin(ONE, "w")
    await publish(work, ONE)
    await work.settle(ONE, "w", State.DONE)
    second = await jobs.renew_owner_key("leaked")
    third = await jobs.renew_owner_key(second)
    await create(jobs, TWO, key=second)  # which was on its way when its key was replaced
    for old in ("leaked", second):
        assert not await jobs.known_owner(old)
        assert [await jobs.role(ONE, old), await jobs.role(TWO, old), await sessions.role(ONE, old)] == [None] * 3
        with pytest.raises(WrongKey, match="was replaced"):
            await jobs.renew_owner_key(old)
    assert await jobs.known_owner(third)
    for recording in (ONE, TWO):
        assert await jobs.role(recording, third) is Role.RECORDER
        assert await jobs.role(recording, f"view-{recording}") is Role.VIEWER
    assert await sessions.role(ONE, third) is Role.RECORDER
    assert [job.id for job in await jobs.owned(third, None, 10)] == [TWO, ONE]
    assert await jobs.role(THREE, "somebody else's") is Role.RECORDER
    at_rest = [key async for key in redis.scan_iter()] + [
        await redis.get(key) async for key in redis.scan_iter("*:owner-*")
    ]
    assert not any(third.encode() in one for one in at_rest)


async def test_of_those_who_replace_a_key_at_once_one_does(jobs: JobStore) -> None:
    await create(jobs, key="leaked")
    told = await asyncio.gather(*(jobs.renew_owner_key("leaked") for _ in range(8)), return_exceptions=True)
    (renewed,) = (one for one in told if isinstance(one, str))
    assert await jobs.role(ONE, renewed) is Role.RECORDER
    assert sum(isinstance(one, WrongKey) for one in told) == 7


async def test_a_replaced_key_opens_nothing_again_as_long_as_anything_is_there(
    jobs: JobStore, work: Work, sessions: SessionStore, redis: Any
) -> None:
    """Without knowing that it was replaced, its recordings would take it for theirs."""
    await create(jobs, key="leaked")
    renewed = await jobs.renew_owner_key("leaked")
    marks = [key async for key in redis.scan_iter("tonetrack:owner-key:*")] + [
        f"tonetrack:owner-of:{digest(renewed)}".encode()
    ]
    longest = 1000 * (2 * RETENTION + PATIENCE)  # it waits as long as it may, and is then heard

    async def prolonged() -> bool:
        left = [await redis.pttl(mark) for mark in marks]
        for mark in marks:
            await redis.pexpire(mark, 60_000)
        return all(longest - 5_000 < one <= longest for one in left)

    assert await prolonged()
    assert await jobs.known_owner(renewed)
    assert await prolonged()
    await create(jobs, TWO, key=renewed)
    assert await prolonged()
    await settled(work, ONE, State.FAILED, retryable=1)
    await jobs.retry(ONE)
    assert await prolonged()
    await settled(work, TWO, State.DONE)
    await publish(work, TWO)
    assert await sessions.role(TWO, renewed) is Role.RECORDER, "who corrects it has its session live longer"
    assert await prolonged()


async def test_places_in_the_queue_move_up(jobs: JobStore, work: Work) -> None:
    for recording in (ONE, TWO, THREE):
        await create(jobs, recording)
    assert [(await jobs.job(one)).position for one in (ONE, TWO, THREE)] == [1, 2, 3]
    assert await jobs.workload() == (3, 0)
    await work.begin(ONE, "w")
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


async def test_how_full_redis_is(jobs: JobStore, redis: Redis) -> None:
    assert await jobs.memory_ratio() is None
    await redis.config_set("maxmemory", 10**9)
    assert 0 < (await jobs.memory_ratio() or 0) < 0.1
    await redis.config_set("maxmemory", 0)
