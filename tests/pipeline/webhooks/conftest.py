from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from pipeline.store import connect
from pipeline.webhooks import WebhookStore
from tests.receiver import STEADY
from tests.service import running_redis


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[WebhookStore]:
    client = connect(url)
    await client.flushdb()
    yield WebhookStore(client, STEADY)
    await client.aclose()


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url, decode_responses=True) as raw:
        yield raw
