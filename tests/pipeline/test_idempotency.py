from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from pipeline.idempotency import ARRIVING_MS, SECRET, Given, Idempotency, claim_key, server_secret
from pipeline.job import OtherUpload, StillArriving, Superseded
from pipeline.published import session_key
from pipeline.store import connect
from tests.service import running_redis

KEY = "5f1c1e0e-6c0e-4a3e-9d5a-0d5e4a7c1b2d"


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


async def only_key(redis: Any) -> str:
    (key,) = [key async for key in redis.scan_iter("tonetrack:idempotency:*")]
    return str(key.decode())


async def has_job(redis: Any, upload: Idempotency) -> None:
    await redis.hset(session_key(upload.given.id, "job"), "state", "queued")


def test_what_is_given_follows_from_the_seed_alone() -> None:
    one, again, other = Given.of(b"a" * 32), Given.of(b"a" * 32), Given.of(b"b" * 32)
    assert one == again
    parts = [part for given in (one, other) for part in (given.id, given.key, given.viewer_key, given.webhook_secret)]
    assert len(set(parts)) == 8
    assert len({part.removeprefix("whsec_") for part in parts}) == 8
    assert one.webhook_secret.startswith("whsec_")
    assert len(one.id) == 16
    assert len(one.key) == len(one.viewer_key) == 32


def test_without_a_seed_nothing_is_given_twice() -> None:
    assert len({Given.of().key for _ in range(100)}) == 100


async def test_a_repeat_is_known_once_it_was_taken_in(redis: Redis) -> None:
    upload = await Idempotency.of(redis, KEY)
    assert not await upload.begin("1000")
    await upload.taken()
    await has_job(redis, upload)
    again = await Idempotency.of(redis, KEY)
    assert await again.begin("1000")
    assert again.given == upload.given


async def test_another_senders_key_is_another_key(redis: Redis) -> None:
    mine, theirs = await Idempotency.of(redis, KEY, "mine"), await Idempotency.of(redis, KEY, "theirs")
    assert not await mine.begin("1000")
    assert not await theirs.begin("2000")
    assert mine.given != theirs.given


async def test_what_is_still_on_its_way_is_not_begun_twice(redis: Redis) -> None:
    attempts = [await Idempotency.of(redis, KEY) for _ in range(20)]
    begun = await asyncio.gather(*(one.begin("1000") for one in attempts), return_exceptions=True)
    assert begun.count(False) == 1
    assert sum(isinstance(one, StillArriving) for one in begun) == 19


@pytest.mark.parametrize("taken", [False, True])
async def test_a_body_of_another_length_is_another_upload(redis: Redis, taken: bool) -> None:
    upload = await Idempotency.of(redis, KEY)
    await upload.begin("1000")
    if taken:
        await upload.taken()
        await has_job(redis, upload)
    with pytest.raises(OtherUpload):
        await (await Idempotency.of(redis, KEY)).begin("1001")


async def test_what_failed_may_begin_anew(redis: Any) -> None:
    upload = await Idempotency.of(redis, KEY)
    await upload.begin("1000")
    await upload.failed()
    assert [key async for key in redis.scan_iter()] == [SECRET.encode()]
    assert not await upload.begin("1001")


async def test_a_body_of_unknown_length_can_be_repeated(redis: Redis) -> None:
    upload = await Idempotency.of(redis, KEY)
    assert not await upload.begin("")
    await upload.taken()
    await has_job(redis, upload)
    assert await (await Idempotency.of(redis, KEY)).begin("")


async def test_an_upload_that_died_may_begin_anew_and_one_that_lives_may_not(redis: Any) -> None:
    upload = await Idempotency.of(redis, KEY)
    await upload.begin("1000")
    key = await only_key(redis)
    assert 0 < await redis.pttl(key) <= ARRIVING_MS
    await redis.pexpire(key, 50)
    await upload.going_on()
    assert await redis.pttl(key) > ARRIVING_MS - 1_000
    await redis.pexpire(key, 1)
    await asyncio.sleep(0.05)
    assert not await (await Idempotency.of(redis, KEY)).begin("1000")


async def test_an_upload_is_remembered_as_long_as_its_recording(redis: Any) -> None:
    """After a day the same key used to begin anew under the same id, over a recording that was still there."""
    upload = await Idempotency.of(redis, KEY, kept=10 * 86_400)
    await upload.begin("1000")
    await upload.taken()
    assert await redis.pttl(await only_key(redis)) == pytest.approx(10 * 86_400_000, abs=5_000)


async def test_a_slow_upload_is_known_all_the_same(redis: Any) -> None:
    """One whose sign of life had expired was kept without its length, so that its repeat was taken for a new one."""
    upload = await Idempotency.of(redis, KEY)
    await upload.begin("1000")
    await redis.delete(await only_key(redis))
    await upload.taken()
    await has_job(redis, upload)
    assert await (await Idempotency.of(redis, KEY)).begin("1000")
    with pytest.raises(OtherUpload):
        await (await Idempotency.of(redis, KEY)).begin("1001")


async def test_redis_learns_neither_the_key_nor_what_is_given(redis: Any) -> None:
    upload = await Idempotency.of(redis, KEY, "sender")
    await upload.begin("1000")
    await upload.taken()
    key = await only_key(redis)
    at_rest = key + str(await redis.hgetall(key))
    for secret in (KEY, "sender", upload.given.key, upload.given.viewer_key, upload.given.webhook_secret):
        assert secret not in at_rest


async def test_what_is_given_cannot_be_told_from_the_key_alone(redis: Any) -> None:
    """Whoever guessed a key once had the recording's own, from a hash that anybody can make."""
    here = await Idempotency.of(redis, "interview-2026-01")
    assert len(await redis.get(SECRET)) == 32
    assert await redis.pttl(SECRET) == -1
    assert (await Idempotency.of(redis, "interview-2026-01")).given == here.given
    assert len({await server_secret(redis) for _ in range(5)}) == 1
    await redis.delete(SECRET)
    elsewhere = await Idempotency.of(redis, "interview-2026-01")
    assert elsewhere.given.id != here.given.id
    assert elsewhere.given.key != here.given.key


async def two_attempts(redis: Any) -> tuple[Idempotency, Idempotency]:
    """One that fell silent, and one that began after it."""
    silent = await Idempotency.of(redis, KEY)
    assert not await silent.begin("1000")
    await redis.delete(await only_key(redis))
    again = await Idempotency.of(redis, KEY)
    assert not await again.begin("1000")
    assert silent.given == again.given
    return silent, again


async def test_who_was_silent_for_too_long_goes_on_where_nobody_else_has_begun(redis: Any) -> None:
    upload = await Idempotency.of(redis, KEY)
    await upload.begin("1000")
    await redis.delete(await only_key(redis))
    await upload.going_on()
    with pytest.raises(StillArriving):
        await (await Idempotency.of(redis, KEY)).begin("1000")


@pytest.mark.parametrize("over", [False, True])
async def test_a_superseded_attempt_is_told_so_and_changes_nothing(redis: Any, over: bool) -> None:
    silent, again = await two_attempts(redis)
    if over:
        await again.taken()
        await has_job(redis, again)
    key = claim_key(again.given.id)
    before = await redis.hgetall(key)
    with pytest.raises(Superseded):
        await silent.going_on()
    await silent.taken()
    await silent.failed()
    assert await redis.hgetall(key) == before
    if not over:
        await again.going_on()


async def test_whoever_comes_back_to_what_was_erased_does_not_bring_it_back(redis: Any) -> None:
    silent, again = await two_attempts(redis)
    await again.taken()
    with pytest.raises(Superseded):
        await silent.going_on()


async def test_what_was_erased_is_taken_in_anew(redis: Any) -> None:
    upload = await Idempotency.of(redis, KEY)
    await upload.begin("1000")
    await upload.taken()
    await has_job(redis, upload)
    await redis.delete(session_key(upload.given.id, "job"))
    anew = await Idempotency.of(redis, KEY)
    assert not await anew.begin("1001"), "nor need it be of the same length"
    await anew.going_on()


async def test_what_a_killed_server_took_in_is_known(redis: Any) -> None:
    upload = await Idempotency.of(redis, KEY)
    await upload.begin("1000")
    await has_job(redis, upload)
    assert await (await Idempotency.of(redis, KEY)).begin("1000")
    await redis.delete(claim_key(upload.given.id))
    assert await (await Idempotency.of(redis, KEY, kept=500)).begin("1000")
    assert await redis.pttl(claim_key(upload.given.id)) == pytest.approx(500_000, abs=5_000)
