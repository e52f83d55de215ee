"""What a running service exports for Prometheus, and what operators are shown of it."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from deployments import metrics
from deployments.client import Session
from tests.cluster.monitoring import Metric, Prometheus, alerts, declared, exported, named, prometheus, queries, tool
from tests.service import Pcm, Service, record
from tests.uploads import tiled, upload, wav_of

HOPS = "ray_tonetrack_lag_seconds_count"
LABELS = {'stage="observe"', 'stage="embed"', 'stage="conclude"', 'operation="append"', 'operation="publish"'}
# What nothing but an incident leaves behind.
RARE: set[Metric] = {
    metrics.DROPPED,
    metrics.GOOGLE,
    metrics.REDIS_ERRORS,
    metrics.REFUSED,
    metrics.REFUSED_REQUESTS,
    metrics.REPEATED,
    metrics.RESTORED,
    metrics.WEBHOOKS,
}
UPLOADED = 15.0  # seconds of a recording
ASKED = named(*queries().values(), *(alert["expr"] for alert in alerts().values()))
TOLD = ASKED - {name for metric in RARE for name in exported(metric)}


@dataclass(frozen=True)
class Told:
    """What a service told of a conversation and a recording."""

    session: Session
    missing: set[str]  # what should have been told and was not
    hops: float  # that were told beyond those of the conversation
    text: str  # of the last scrape
    names: set[str]  # of all samples, also of those that had gone by then
    prometheus: Prometheus | None  # where there is one, it has scraped all the while


def scraped(service: Service) -> str:
    return httpx.get(service.metrics, timeout=10).raise_for_status().text


def value(text: str, sample: str) -> float:
    """The sum of a metric over all processes and labels."""
    return sum(float(found) for found in re.findall(rf"^{sample}{{.*}} (\S+)$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def told(service: Service, small_conversation: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    here = shutil.which("prometheus") is not None
    scraping = prometheus(tmp_path_factory.mktemp("prometheus"), service.metrics) if here else nullcontext()
    with scraping as running, service.redis() as redis:
        redis.config_set("maxmemory", 2**30)  # or no share of it could be told
        try:
            yield _told(service, small_conversation[0], running)
        finally:
            redis.config_set("maxmemory", 0)


def _told(service: Service, pcm: Pcm, running: Prometheus | None) -> Told:
    missing = {f"# TYPE ray_{metric.info['name']}" for metric in declared() if metric not in RARE} | LABELS
    before, text, names = value(scraped(service), HOPS), "", set[str]()

    async def talk() -> tuple[Session, float]:
        uploaded = await upload(service.api, wav_of(tiled(pcm, UPLOADED)))
        session, _, seconds = await record(service.api, pcm, pace=0)
        await uploaded.heard()
        return session, seconds

    session, seconds = asyncio.run(talk())
    deadline = time.monotonic() + 60  # each process tells Ray of itself every few seconds, none of them at once
    heard = before + int(seconds * 2)
    while (missing or TOLD - names or value(text, HOPS) < heard) and time.monotonic() < deadline:
        time.sleep(1)
        text = scraped(service)
        missing = {part for part in missing if part not in text}  # a gauge goes again when nobody talks
        names |= set(re.findall(r"^(ray_\w+)", text, re.MULTILINE))
    return Told(session, missing, value(text, HOPS) - heard, text, names, running)


def test_a_conversation_shows_in_the_metrics_and_tells_nothing_of_itself(told: Told) -> None:
    assert told.missing == set()
    assert told.hops >= 0
    assert value(told.text, "ray_tonetrack_dropped_sessions_total") == 0
    for secret in (told.session.id, told.session.recorder_key, told.session.viewer_key):
        assert secret not in told.text


def test_whatever_the_dashboard_and_the_alerts_name_is_exported(told: Told) -> None:
    """Or bears the name that Ray makes of ours, where only an incident leaves it behind."""
    assert TOLD - told.names == set()


def test_every_panel_has_something_to_draw_and_every_alert_can_be_told(told: Told) -> None:
    if told.prometheus is None:
        tool("prometheus")
    assert told.prometheus
    empty = {name: expr for name, expr in queries().items() if named(expr) <= told.names}
    deadline = time.monotonic() + 20  # a rate is known from the second scrape on
    while (empty := {n: e for n, e in empty.items() if not told.prometheus.drawn(e)}) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert empty == {}
    rules = [rule for group in told.prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["health"] for rule in rules} == dict.fromkeys(alerts(), "ok")
