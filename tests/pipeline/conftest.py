"""A session in the store, over a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from pipeline.session import (
    NewSession,
    SessionRequest,
)
from pipeline.store import SessionStore, connect
from tests.service import running_redis


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SessionStore]:
    client = connect(url)
    yield SessionStore(client, retention=60)
    await client.aclose()


@pytest.fixture
async def session(store: SessionStore) -> NewSession:
    return await store.create(SessionRequest(purpose="research", consent=True, name="<b>ö</b>"))
