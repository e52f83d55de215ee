from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from pydantic import ValidationError

from pipeline.api_keys import ApiKeys, UnknownApiKey
from pipeline.store import connect
from tests.service import running_redis


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
async def keys(url: str) -> AsyncIterator[ApiKeys]:
    client = connect(url)
    yield ApiKeys(client)
    await client.flushall()
    await client.aclose()


async def test_a_key_is_known_by_its_secret_and_by_nothing_near_it(keys: ApiKeys) -> None:
    made, other = await keys.create("clinic"), await keys.create("school")
    assert await keys.use(made.secret) == made.record.id
    assert made.secret.startswith(f"tt_{made.record.id}_")
    of_another = made.secret.replace(made.record.id, other.record.id)
    for wrong in ("", "tt", "tt__", made.record.id, made.secret[:-1], made.secret + "x", of_another, "ö\0"):
        with pytest.raises(UnknownApiKey):
            await keys.use(wrong)


async def test_a_secret_is_not_at_rest(keys: ApiKeys, url: str) -> None:
    made = await keys.create("clinic")
    with redis.Redis.from_url(url) as raw:
        at_rest = b" ".join(
            value for key in raw.scan_iter("tonetrack:api-key:*") for value in raw.hgetall(key).values()
        )
    assert b"clinic" in at_rest
    assert made.secret.rpartition("_")[2].encode() not in at_rest


async def test_a_revoked_key_opens_nothing_and_no_late_use_brings_it_back(keys: ApiKeys, url: str) -> None:
    made = await keys.create("clinic")
    await keys.revoke(made.record.id)
    with pytest.raises(UnknownApiKey):
        await keys.use(made.secret)
    assert not await keys.stands(made.record.id)
    assert await keys.all() == []
    with pytest.raises(UnknownApiKey):
        await keys.revoke(made.record.id)
    await keys._used(keys=[f"tonetrack:api-key:{made.record.id}"], args=[time.time()])  # had looked before
    with redis.Redis.from_url(url) as raw:
        assert list(raw.scan_iter("tonetrack:api-key*")) == []


async def test_a_key_expires_by_itself(keys: ApiKeys, url: str) -> None:
    made = await keys.create("clinic", expires_in=60)
    with redis.Redis.from_url(url) as raw:
        assert 58_000 < raw.pttl(f"tonetrack:api-key:{made.record.id}") <= 60_000
        raw.pexpire(f"tonetrack:api-key:{made.record.id}", 1)
    time.sleep(0.01)
    with pytest.raises(UnknownApiKey):
        await keys.use(made.secret)
    assert await keys.all() == []


async def test_keys_are_listed_with_when_they_were_used(keys: ApiKeys) -> None:
    first, second = await keys.create("clinic"), await keys.create("school", expires_in=60)
    before = time.time()
    await keys.use(second.secret)
    listed = await keys.all()
    assert [(key.id, key.name) for key in listed] == [(first.record.id, "clinic"), (second.record.id, "school")]
    assert listed[0].last_used_at is None
    assert before <= (listed[1].last_used_at or 0) <= time.time()
    assert listed[1].expires_at == pytest.approx(before + 60, abs=5)


@pytest.mark.parametrize("name", ["", "x" * 81, "a\nb"])
async def test_a_name_can_be_read(keys: ApiKeys, name: str) -> None:
    with pytest.raises(ValidationError):
        await keys.create(name)
