from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from pipeline.quotas import Quotas, from_address
from pipeline.store import connect
from tests.service import running_redis


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
async def replicas(url: str) -> AsyncIterator[tuple[Quotas, Quotas]]:
    """Two processes' quotas over one Redis."""
    clients = connect(url), connect(url)
    yield Quotas(clients[0]), Quotas(clients[1])
    await clients[0].flushall()
    for client in clients:
        await client.aclose()


async def test_so_many_a_minute_by_all_replicas_together(replicas: tuple[Quotas, Quotas]) -> None:
    waits = [await replicas[number % 2].take("sessions", "anna", 4) for number in range(4)]
    assert waits == [0, 0, 0, 0]
    wait = await replicas[0].take("sessions", "anna", 4)
    assert 10 < wait <= 15, "one of four a minute comes back every 15 s"
    assert await replicas[0].take("sessions", "ben", 4) == 0
    assert await replicas[0].take("uploads", "anna", 4) == 0


async def test_what_is_taken_comes_back_bit_by_bit(replicas: tuple[Quotas, Quotas]) -> None:
    quotas, _ = replicas
    while await quotas.take("sessions", "anna", 600) == 0:
        pass
    await asyncio.sleep(0.11)  # of the 100 ms in which one comes
    assert await quotas.take("sessions", "anna", 600) == 0


async def test_who_only_looks_takes_nothing(replicas: tuple[Quotas, Quotas]) -> None:
    quotas, _ = replicas
    assert [await quotas.left("keys", "anna", 1) for _ in range(3)] == [0, 0, 0]
    assert await quotas.take("keys", "anna", 1) == 0
    assert 0 < await quotas.left("keys", "anna", 1) <= 60


async def test_so_many_places_at_once(replicas: tuple[Quotas, Quotas]) -> None:
    here, there = replicas
    assert await here.hold("anna", "s1", 2, 60)
    assert await there.hold("anna", "s2", 2, 60)
    assert not await here.hold("anna", "s3", 2, 60)
    assert await there.hold("anna", "s1", 2, 60), "who has a place keeps it, on whatever replica"
    assert await here.hold("ben", "s3", 2, 60)
    await there.let_go("anna", "s1")
    assert await here.hold("anna", "s3", 2, 60)


async def test_what_is_erased_has_no_place_whoever_held_it(replicas: tuple[Quotas, Quotas]) -> None:
    here, there = replicas
    assert await here.hold("anna", "s1", 1, 60)
    await there.forget("s1")
    await there.forget("nobody")
    assert await here._redis.keys("*") == []
    assert await here.hold("anna", "s2", 1, 60)


async def test_the_place_of_who_gives_no_sign_of_life_is_free_again(replicas: tuple[Quotas, Quotas]) -> None:
    quotas, _ = replicas
    assert await quotas.hold("anna", "s1", 1, 0.05)
    await asyncio.sleep(0.06)
    assert await quotas.hold("anna", "s2", 1, 60)


@pytest.mark.parametrize(
    ("host", "caller"),
    [
        ("192.0.2.7", "address:192.0.2.7"),
        ("::ffff:192.0.2.7", "address:192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "address:2001:db8:1:2::/64"),
        ("", "address:"),
    ],
)
def test_an_address_stands_for_a_caller(host: str, caller: str) -> None:
    assert from_address(host) == caller
