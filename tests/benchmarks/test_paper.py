"""Ten thousand sessions, reckoned from one."""

from __future__ import annotations

import pytest

from tests.benchmarks.paper import CORES, NETWORK, REDIS_MEMORY, USED, Need, Session, need, told


def session(
    cores: float = 0.0, processor: float = 0.0, live: float = 0.0, hour: float = 0.0, network: float = 0.0
) -> Session:
    return Session(cores, processor, live, hour, network / 2, network / 2)


def test_nodes_leave_room_for_peaks() -> None:
    assert need(session(cores=CORES * USED), 3).nodes == 3
    assert need(session(cores=CORES * USED + 0.01), 3).nodes == 4


def test_what_is_kept_counts_by_the_hour() -> None:
    kept = need(session(live=1e6, hour=4e6), 10, hours=24)
    assert kept.redis_memory == pytest.approx(10 * (1e6 + 24 * 4e6))


@pytest.mark.parametrize(
    ("one", "bottleneck"),
    [
        (session(processor=2 * USED / 100, live=USED * REDIS_MEMORY / 100), "processor"),
        (session(processor=USED / 100, live=2 * USED * REDIS_MEMORY / 100), "memory"),
        (session(processor=USED / 100, network=2 * USED * NETWORK / 100), "network"),
    ],
)
def test_the_bottleneck_is_what_one_redis_has_least_of(one: Session, bottleneck: str) -> None:
    needed = need(one, 100)
    assert needed.bottleneck == bottleneck
    assert needed.redis[bottleneck] == pytest.approx(2.0)
    assert needed.shards == 2


def test_the_text_says_what_gives_way_and_what_moves_it() -> None:
    text = told(Need(1.0, 1, 0.0, 0.0, {"processor": 10.0, "memory": 4.0, "network": 0.5}), 10_000)
    assert "by its processor one Redis carries 1,000 of them" in text
    assert "one hash slot (`{id}`)" in text
    assert "10 shards share the sessions" in text
    assert "By its memory it would carry 2,500" in text
