"""What the tests of session actors share: a Redis of their own, and the real diariser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from pipeline.api_keys import ApiKeys
from pipeline.diarisation.local import LocalDiariser
from pipeline.store import SessionStore, connect
from tests.deployments.actors import Actors
from tests.service import running_redis


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="module")
def diariser() -> LocalDiariser:
    return LocalDiariser()


@pytest.fixture
async def actors(url: str, diariser: LocalDiariser) -> AsyncIterator[Actors]:
    actors = Actors(url, diariser)
    yield actors
    await actors.close()


@pytest.fixture
async def store(url: str) -> AsyncIterator[SessionStore]:
    client = connect(url)
    yield SessionStore(client, retention=600)
    await client.aclose()


@pytest.fixture
async def keys(url: str) -> AsyncIterator[ApiKeys]:
    """The API keys of a Redis with nothing in it."""
    redis = connect(url)
    await redis.flushall()
    yield ApiKeys(redis)
    await redis.aclose()
