from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pipeline.published import session_key
from pipeline.quotas import Quotas, from_address, on_session, to_caller
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
    assert await here.hold("anna", "s1", "l1", 2, 60)
    assert await there.hold("anna", "s2", "l2", 2, 60)
    assert not await here.hold("anna", "s3", "l3", 2, 60)
    assert await there.hold("anna", "s1", "l1", 2, 60), "who has a place keeps it, on whatever replica"
    assert await here.hold("ben", "s3", "l4", 2, 60)
    await there.let_go("anna", "s1", "l1")
    assert await here.hold("anna", "s3", "l3", 2, 60)


async def test_a_place_is_that_of_the_line_which_took_the_session_over(replicas: tuple[Quotas, Quotas]) -> None:
    here, there = replicas
    assert await here.hold("anna", "s1", "old", 1, 60)
    assert await there.hold("anna", "s1", "refused", 1, 60)
    await there.let_go("anna", "s1", "refused")
    assert not await there.hold("anna", "s2", "other", 1, 60), "what never recorded frees nothing"
    assert await there.hold("anna", "s1", "new", 1, 60, takes_over=True)
    assert await here.hold("anna", "s1", "old", 1, 60)
    await here.let_go("anna", "s1", "old")
    assert not await here.hold("anna", "s2", "other", 1, 60), "the new line records"
    await there.let_go("anna", "s1", "new")
    assert await here.hold("anna", "s2", "other", 1, 60)


async def test_who_takes_over_while_another_leaves_keeps_the_place(
    replicas: tuple[Quotas, Quotas], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = replicas
    assert await here.hold("anna", "s1", "old", 1, 60)
    leave = here._leave

    async def overtaken(**asked: Any) -> Any:
        left = await leave(**asked)
        await asyncio.sleep(0.002)  # places are held until a millisecond
        assert await there.hold("anna", "s1", "new", 1, 60, takes_over=True)
        return left

    monkeypatch.setattr(here, "_leave", overtaken)
    await here.let_go("anna", "s1", "old")
    assert not await there.hold("anna", "s2", "other", 1, 60)


async def test_who_gets_no_place_holds_nothing(replicas: tuple[Quotas, Quotas]) -> None:
    here, there = replicas
    assert await here.hold("anna", "s1", "l1", 1, 60)
    assert not await there.hold("anna", "s2", "l2", 1, 60)
    assert await here._redis.keys("*s2*") == []


async def test_a_stream_has_a_place_until_it_ends(replicas: tuple[Quotas, Quotas]) -> None:
    here, there = replicas
    for ours, others in (to_caller("anna"), to_caller("ben")), (on_session("s1"), on_session("s2")):
        assert await here.hold_stream(ours, "a", 1, 60)
        assert await there.hold_stream(ours, "a", 1, 60)
        assert not await there.hold_stream(ours, "b", 1, 60)
        assert await there.hold_stream(others, "b", 1, 60)
        await there.let_go_of_stream(ours, "a")
        assert await there.hold_stream(ours, "b", 1, 60)


async def test_what_is_erased_has_no_place_whoever_held_it(replicas: tuple[Quotas, Quotas]) -> None:
    here, there = replicas
    assert await here.hold("anna", "s1", "l1", 1, 60)
    await there.forget("s1")
    await there.forget("nobody")
    assert await here._redis.keys("*") == []
    assert await here.hold("anna", "s2", "l2", 1, 60)


async def test_a_recording_has_a_place_until_somebody_lets_go_of_it(replicas: tuple[Quotas, Quotas]) -> None:
    here, there = replicas
    assert await here.hold_recording("anna", "r1", 2, 60)
    assert await there.hold_recording("anna", "r2", 2, 60)
    assert not await here.hold_recording("anna", "r3", 2, 60)
    assert await here.hold_recording("anna", "r1", 2, 60), "who has a place keeps it"
    assert await here.hold_recording("ben", "r3", 2, 60)
    assert await here.hold("anna", "s1", "l1", 1, 60), "what is recorded is counted by itself"
    await there.let_go_of_recording("r1")
    await there.let_go_of_recording("r1")
    assert await here.hold_recording("anna", "r4", 2, 60)
    for recording in ("r2", "r3", "r4"):
        await there.let_go_of_recording(recording)
    await here.forget("s1")
    assert await here._redis.keys("*") == []


async def test_no_place_outlasts_what_it_is_held_for_nor_ends_with_a_shorter_one(
    replicas: tuple[Quotas, Quotas],
) -> None:
    quotas, _ = replicas
    assert await quotas.hold_recording("anna", "r1", 2, 60)
    assert await quotas.hold_recording("anna", "r2", 2, 0.05)
    await asyncio.sleep(0.06)
    assert await quotas.hold_recording("anna", "r3", 2, 60)
    assert not await quotas.hold_recording("anna", "r4", 2, 60)
    assert await quotas._redis.get(session_key("r2", "uploader")) is None


async def test_the_place_of_who_gives_no_sign_of_life_is_free_again(replicas: tuple[Quotas, Quotas]) -> None:
    quotas, _ = replicas
    assert await quotas.hold("anna", "s1", "l1", 1, 0.05)
    await asyncio.sleep(0.06)
    assert await quotas.hold("anna", "s2", "l2", 1, 60)


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
