"""What a replica says of itself when a part is away: real Redis servers and folders, and Serve is played."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import redis
from ray import serve
from ray.exceptions import RayActorError
from ray.serve._private.common import ReplicaState

from deployments import readiness
from deployments.app import build
from deployments.context import Context
from deployments.gate import Gate
from deployments.inbox import Inbox
from deployments.ingress import build_api
from deployments.sessions import open_store
from deployments.settings import Settings
from deployments.shared import Shared
from tests.service import Service, free_port, running_redis

MODELS = ("Diariser", "EmotionRecogniser", "RecordingWorker")


class Cluster:
    """What Serve's controller and the session actors answer."""

    def __init__(self) -> None:
        self.running = dict.fromkeys(MODELS, 1)
        self.answers = True
        self.actors = asyncio.Event()
        self.actors.set()
        self.asked = 0
        self.full = False
        self.recorders = 0

    def status(self) -> Any:
        self.asked += 1
        if not self.answers:
            raise RayActorError
        told = {name: SimpleNamespace(replica_states={ReplicaState.RUNNING: n}) for name, n in self.running.items()}
        return SimpleNamespace(applications={"tonetrack": SimpleNamespace(deployments=told)})

    async def ready(self) -> None:
        await self.actors.wait()


@pytest.fixture
async def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(serve, "status", cluster.status)
    monkeypatch.setattr(readiness, "PATIENCE", 2.0)
    monkeypatch.setattr(readiness, "FRESH", 0.0)
    return cluster


@pytest.fixture
def store_url(tmp_path: Path) -> Iterator[str]:
    with running_redis(tmp_path) as url:
        yield url


Replica = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def replica(cluster: Cluster, store_url: str, tmp_path: Path) -> AsyncIterator[Replica]:
    """Opens an ingress replica with these settings."""
    opened: list[httpx.AsyncClient] = []

    def open_replica(**settings: Any) -> httpx.AsyncClient:
        told = Settings(**{"redis_url": store_url, "blobs": str(tmp_path / "blobs")} | settings)
        pool: Any = cluster
        diariser: Any = SimpleNamespace(app_name="tonetrack")
        inbox = Inbox(told)
        context = Context(told, open_store(told), pool, diariser, inbox, Gate(told, inbox.redis))
        transport = httpx.ASGITransport(build_api(context))
        opened.append(httpx.AsyncClient(transport=transport, base_url="http://replica"))
        return opened[-1]

    yield open_replica
    for client in opened:
        await client.aclose()


async def wrong(client: httpx.AsyncClient) -> tuple[int, dict[str, str]]:
    """The status, and the parts that are not ok."""
    answer = await client.get("/readyz")
    assert answer.json()["status"] == ("ready" if answer.status_code == 200 else "not ready")
    return answer.status_code, {name: told for name, told in answer.json()["parts"].items() if told != "ok"}


def owner(url: str) -> Any:
    return redis.Redis.from_url(url)


def full(url: str) -> None:
    owner(url).config_set("maxmemory", 1)


def read_only(url: str) -> None:
    owner(url).replicaof("127.0.0.1", free_port())


def paused(url: str) -> None:
    owner(url).client_pause(3_000)


def stopped(url: str) -> None:
    owner(url).shutdown(nosave=True)


async def test_a_redis_that_is_nearly_full_degrades_the_replica(replica: Replica, store_url: str) -> None:
    used = owner(store_url).info("memory")["used_memory"]
    owner(store_url).config_set("maxmemory", round(used / 0.9))
    assert await wrong(replica()) == (200, {"redis": readiness.degraded(readiness.REDIS_FILLING)})


@pytest.mark.parametrize(
    ("befalls", "says"),
    [
        (full, "full and refuses writes"),
        (read_only, "is a replica"),
        (paused, "does not answer"),
        (stopped, "does not answer"),
    ],
)
async def test_a_redis_that_takes_no_writes(
    replica: Replica, store_url: str, befalls: Callable[[str], None], says: str
) -> None:
    """It used to be enough that it answered."""
    client = replica()
    assert await wrong(client) == (200, {})
    befalls(store_url)
    start = time.monotonic()
    status, parts = await wrong(client)
    assert time.monotonic() - start < 3 * readiness.PATIENCE
    assert status == 503
    assert parts.keys() - {"queue"} == {"redis"}
    assert parts["redis"].startswith("failing: ")
    assert says in parts["redis"]
    assert (await client.get("/healthz")).json() == {"status": "alive"}


async def test_a_wrong_password_is_not_repeated(replica: Replica, store_url: str) -> None:
    owner(store_url).config_set("requirepass", "hunter1")
    answer = await replica(redis_url=store_url.replace("//", "//:hunter2@")).get("/readyz")
    assert answer.json()["parts"]["redis"] == f"failing: {readiness.REDIS_AWAY}"
    assert "hunter" not in answer.text


async def test_an_actor_that_is_away_takes_no_new_sessions(replica: Replica, cluster: Cluster) -> None:
    client = replica()
    cluster.actors.clear()
    assert await wrong(client) == (503, {"session_actors": f"failing: {readiness.SESSIONS_AWAY}"})
    cluster.actors.set()
    assert await wrong(client) == (200, {})


@pytest.mark.parametrize(("deployment", "status"), list(zip(MODELS, (503, 503, 200), strict=True)))
async def test_a_deployment_without_replicas(replica: Replica, cluster: Cluster, deployment: str, status: int) -> None:
    """Nobody who talks waits for who hears recordings."""
    cluster.running[deployment] = 0
    found, parts = await wrong(replica())
    (told,) = parts.values()
    assert found == status
    assert deployment in told
    assert told.startswith("failing" if status == 503 else "degraded")


async def test_a_head_that_is_away_costs_no_place(replica: Replica, cluster: Cluster) -> None:
    """All replicas would go at once, and with them everybody who talks."""
    cluster.answers = False
    status, parts = await wrong(replica())
    assert status == 200
    assert set(parts.values()) == {f"degraded: {readiness.SERVE_AWAY}"}


async def test_a_blob_store_that_is_away_costs_no_place(replica: Replica, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    answer = await wrong(replica(blobs=str(tmp_path / "file" / "below")))
    assert answer == (200, {"blob_store": f"degraded: {readiness.BLOBS_AWAY}"})


async def test_whoever_is_full_says_so(replica: Replica, store_url: str) -> None:
    owner(store_url).zadd("tonetrack:jobs:waiting", {"0" * 16: 1})
    assert await wrong(replica(max_queued=1)) == (200, {"queue": f"degraded: {readiness.QUEUE_FULL}"})


async def test_many_who_ask_cost_little(
    replica: Replica, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "FRESH", 60.0)
    client = replica()
    await asyncio.gather(*(client.get("/readyz") for _ in range(50)))
    assert cluster.asked == 1
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_what_is_shared_outlives_who_asked_first_and_is_found_anew_when_it_is_old() -> None:
    found: list[int] = []

    async def find() -> int:
        await asyncio.sleep(0.05)
        found.append(len(found))
        return found[-1]

    shared = Shared(find, 0.2)
    impatient = asyncio.create_task(shared())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await asyncio.gather(shared(), shared()) == [0, 0]
    assert await shared() == 0
    await asyncio.sleep(0.25)
    assert await shared() == 1


def test_it_asks_for_deployments_that_there_are() -> None:
    handles = build(Settings(redis_url="redis://nowhere:1"))._bound_deployment.init_args[1:]
    assert tuple(handle._bound_deployment.name for handle in handles) == MODELS


async def test_an_actor_of_a_running_service_stands_still(service: Service) -> None:
    (actor,) = (pid for pid, command in service.processes().items() if "ray::SessionActor" in command)
    async with httpx.AsyncClient(base_url=service.api, timeout=10) as client:
        os.kill(actor, signal.SIGSTOP)
        try:
            await asyncio.sleep(readiness.FRESH)
            status, parts = await wrong(client)
        finally:
            os.kill(actor, signal.SIGCONT)
        async with asyncio.timeout(20):
            while (await wrong(client))[0] != 200:
                await asyncio.sleep(0.2)
    assert (status, parts.keys()) == (503, {"session_actors"})
