"""A Ray cluster of several hosts, as KubeRay makes one, and the entry that a Kubernetes Service is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from deployments.loop import Loop
from deployments.own_ray import QUIET_WORKERS
from deployments.up import redis_server
from tests.cluster.hosts import Host, Network
from tests.service import ROOT, free_port

BIN: Final = Path(sys.executable).parent
PASSWORD: Final = "of the tests alone"
GCS, DASHBOARD, HTTP = 6379, 8265, 8000
STORE: Final = 100 * 1024 * 1024  # bytes of shared memory a node; handles carry small things
STARTUP_SECONDS: Final = 180.0
RUNNING: Final = "Ray runtime started."


@dataclass
class Fleet:
    """A head without CPUs of its own, and workers. `entry` is the URL behind which the workers' proxies stand."""

    network: Network
    folder: Path
    environment: dict[str, str]
    gcs_redis: str
    head: Host = field(init=False)
    workers: dict[str, Host] = field(default_factory=dict)
    entry: str = ""

    def start_head(self) -> None:
        """Start the head, or start it anew after it was ended."""
        if not hasattr(self, "head"):
            self.head = self.network.host("head")
        quick = {"RAY_health_check_period_ms": "2000", "RAY_health_check_timeout_ms": "3000"}
        lasting = (
            quick
            | {"RAY_health_check_failure_threshold": "3"}
            | {"RAY_REDIS_ADDRESS": self.gcs_redis, "RAY_external_storage_namespace": "tests"}
        )
        dashboard = ["--dashboard-host=0.0.0.0", f"--dashboard-port={DASHBOARD}", f"--redis-password={PASSWORD}"]
        self._ray(self.head, [f"--port={GCS}", "--head", "--num-cpus=0", *dashboard], lasting)
        self.until(lambda: self.head.messages().count(RUNNING) == self.head.starts, "the head")

    def start_worker(self, name: str, cpus: int, gpus: int = 0) -> Host:
        """Start a worker. Its GPUs are there for the scheduler only."""
        host = self.workers[name] = self.network.host(name)
        self.restart(host, cpus, gpus)
        return host

    def restart(self, host: Host, cpus: int, gpus: int = 0) -> None:
        """Start Ray on a worker's host."""
        address = f"--address={self.head.address}:{GCS}"
        self._ray(host, [address, f"--num-cpus={cpus}", f"--num-gpus={gpus}"], {})

    def _ray(self, host: Host, options: list[str], environment: dict[str, str]) -> None:
        command = [BIN / "ray", "start", "--block", "--disable-usage-stats", f"--object-store-memory={STORE}"]
        own = [f"--node-ip-address={host.address}", *options]
        host.start([*map(str, command), *own], self.environment | environment, ROOT)

    def deploy(self, config: str) -> None:
        """`serve deploy`, and wait until everything runs."""
        self.until(self._together, "a node")
        file = self.folder / "serve.yaml"
        file.write_text(config)
        command = [BIN / "serve", "deploy", file, "--address", self._dashboard]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=self.environment, timeout=60)
        self.until(lambda: self.status() == "RUNNING", "the application")
        self.until(lambda: httpx.get(f"{self.entry}/readyz", timeout=5).status_code == 200, "the entry")

    def application(self) -> Any:
        """What Serve's controller says of the application. Raises `httpx.HTTPError` while there is no control."""
        answer = httpx.get(f"{self._dashboard}/api/serve/applications/", timeout=10).raise_for_status().json()
        return answer["applications"].get("tonetrack", {})

    def status(self) -> str:
        """The application's."""
        return str(self.application().get("status"))

    def replicas(self, deployment: str) -> list[Any]:
        """The running replicas of a deployment."""
        replicas = self.application()["deployments"][deployment]["replicas"]
        return [replica for replica in replicas if replica["state"] == "RUNNING"]

    def host_of(self, address: str) -> Host:
        """The host with an address."""
        return next(host for host in self._hosts() if host.address == address)

    def session_actors(self) -> list[Any]:
        """The living session actors, as Ray's state API tells of them."""
        query = {"filter_keys": "class_name", "filter_predicates": "=", "filter_values": "SessionActor", "detail": True}
        answer = httpx.get(f"{self._dashboard}/api/v0/actors", params=query, timeout=10).raise_for_status().json()
        return [actor for actor in answer["data"]["result"]["result"] if actor["state"] == "ALIVE"]

    def address_of(self, node: str) -> str:
        """The address of a living node."""
        return next(n["ip"] for n in self._nodes() if n["raylet"]["nodeId"] == node)

    def _nodes(self) -> list[Any]:
        answer = httpx.get(f"{self._dashboard}/nodes?view=summary", timeout=10).raise_for_status().json()
        return [node for node in answer["data"]["summary"] if node["raylet"]["state"] == "ALIVE"]

    def settle(self) -> None:
        """Wait until everything is again as it was deployed, on all hosts."""
        self.until(self._together, "a node")
        self.until(self._whole, "the application")

    def _hosts(self) -> list[Host]:
        return [self.head, *self.workers.values()]

    def _together(self) -> bool:
        running = all(host.messages().count(RUNNING) == host.starts for host in self._hosts())
        return running and {node["ip"] for node in self._nodes()} >= {host.address for host in self._hosts()}

    def _whole(self) -> bool:
        deployments = self.application()["deployments"]
        return self.status() == "RUNNING" and all(
            len(self.replicas(name)) == deployments[name]["target_num_replicas"] for name in deployments
        )

    def drain(self, host: Host, seconds: float) -> None:
        """Clear a host as Kubernetes does before it ends a pod. Raises `TimeoutExpired`."""
        command = [sys.executable, "-m", "deployments.drain", "--seconds", str(seconds)]
        done = host.run(command, self.environment, ROOT, seconds + 30)
        assert done == 0, host.messages()[-2000:]

    @property
    def _dashboard(self) -> str:
        return f"http://{self.head.address}:{DASHBOARD}"

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait until something is true, whatever stands in the way of asking. Raises `AssertionError`."""
        deadline, reason = time.monotonic() + STARTUP_SECONDS, "no answer"
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError, KeyError):
                if true():
                    return
            for host in self._hosts():
                assert not host.failed(), f"{host.name} has failed:\n{host.messages()[-2000:]}"
            time.sleep(0.3)
        with suppress(httpx.HTTPError):
            reason = json.dumps(self.application(), indent=1)
        raise AssertionError(f"{what} is not there: {reason}\n{self.head.messages()[-2000:]}")


class Entry:
    """Hands each connection to a worker whose proxy is healthy, as a Kubernetes Service and its probes do."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._ready: list[str] = []
        self._turn = 0
        self._server: asyncio.Server | None = None
        self.port = free_port()

    async def serve(self) -> None:
        """Listen, and look after the workers."""
        await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        async with httpx.AsyncClient(timeout=1) as http:
            while True:
                await self._probe(http)
                await asyncio.sleep(0.5)

    async def _probe(self, http: httpx.AsyncClient) -> None:
        async def healthy(address: str) -> bool:
            with suppress(httpx.HTTPError):
                return (await http.get(f"http://{address}:{HTTP}/-/healthz")).status_code == 200
            return False

        addresses = [host.address for host in list(self._fleet.workers.values())]
        answers = await asyncio.gather(*(healthy(address) for address in addresses))
        self._ready = [address for address, good in zip(addresses, answers, strict=True) if good]

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        try:
            address = self._ready[self._turn % len(self._ready)]
            async with asyncio.timeout(3):
                there = await asyncio.open_connection(address, HTTP)
        except (OSError, TimeoutError, ZeroDivisionError):
            writer.transport.abort()
            return
        await asyncio.gather(_pour(reader, there[1]), _pour(there[0], writer))


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


@contextmanager
def running_fleet(network: Network, folder: Path, **settings: Any) -> Iterator[Fleet]:
    """A head with a Redis of its own behind it, and the application's Redis; workers come with `start_worker`."""
    with _redis(network, folder / "gcs") as gcs, _redis(network, folder / "store") as store:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TONETRACK_", "RAY_"))}
        settings = {"redis_url": f"redis://:{PASSWORD.replace(' ', '%20')}@{store}/0", **settings}
        # All of them are on the cores of one machine, and whoever comes is taken.
        settings = {"max_lag": 1_000, "max_busy": 1} | settings
        environment |= QUIET_WORKERS | {f"TONETRACK_{name.upper()}": str(value) for name, value in settings.items()}
        fleet = Fleet(network, folder, environment | {"PYTHONPATH": str(ROOT)}, gcs)
        entry = Entry(fleet)
        fleet.entry = f"http://127.0.0.1:{entry.port}"
        Loop("entry").spawn(entry.serve())
        try:
            fleet.start_head()
            yield fleet
        finally:
            fleet.head.end()
            for host in fleet.workers.values():
                host.end()
            shutil.rmtree(folder / "head" / "ray", ignore_errors=True)


@contextmanager
def _redis(network: Network, folder: Path) -> Iterator[str]:
    """A Redis with a password and an append-only file, as the manifests have it; yields host:port."""
    folder.mkdir()
    port = free_port()
    options = ["--port", str(port), "--bind", network.here, "--requirepass", PASSWORD, "--dir", str(folder)]
    process = subprocess.Popen(
        [redis_server(), *options, "--appendonly", "yes", "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        patient = Retry(ConstantBackoff(0.05), retries=200)
        with redis.Redis(host=network.here, port=port, password=PASSWORD, retry=patient) as client:
            client.ping()
        yield f"{network.here}:{port}"
    finally:
        process.terminate()
        process.wait(10)
