"""The store of uploaded recordings, over an empty Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from pipeline.jobs import JobStore
from pipeline.store import SessionStore, connect
from tests.pipeline.jobs.recordings import RETENTION


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
