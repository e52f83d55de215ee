"""The store of uploaded recordings and the work on them, over an empty Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from pipeline.jobs import JobStore
from pipeline.store import SessionStore, connect
from pipeline.work import Work
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
    return JobStore(redis, sessions, RETENTION)


@pytest.fixture
def work(redis: Redis, sessions: SessionStore, jobs: JobStore) -> Work:
    return Work(redis, sessions, jobs, tries=2)
