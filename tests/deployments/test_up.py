"""`tonetrack up` as a person meets it: clear sentences when it cannot start, and nothing left behind when it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import psutil
import pytest
import redis

from deployments import up
from deployments.settings import Settings
from deployments.up import CannotStart
from tests.service import ROOT, Service, free_port, running_service

CLI = [sys.executable, "-m", "deployments.cli"]


def tonetrack(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {f"TONETRACK_{name.upper()}": value for name, value in settings.items()}
    return subprocess.run([*CLI, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_in_use_gets_one_clear_sentence(taken_port: int) -> None:
    failed = tonetrack("up", "--port", str(taken_port), "--ui-port", str(free_port()))
    assert failed.returncode == 1
    assert failed.stderr.strip().splitlines() == [
        f"Port {taken_port} on 127.0.0.1 cannot be used (Address already in use); "
        "end what uses it, or set TONETRACK_PORT to another."
    ]


def test_too_little_memory_gets_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "NEEDED_MEMORY", 1e15)
    with pytest.raises(CannotStart, match=r"needs 1000000\.0 GB of free memory and this machine has"):
        up.run(Settings(port=free_port(), ui_port=free_port()), dashboard=False, say=lambda step: None)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"port": "eighty"}, "TONETRACK_PORT"),
        ({"redis_url": "http://x"}, "a Redis URL starts with"),
        ({"retention": "-1"}, "TONETRACK_RETENTION"),
        ({"retention": "inf"}, "TONETRACK_RETENTION"),
        ({"allowed_origins": "http://x"}, "a list is written as JSON"),
        ({"emotion_min_replicas": "5"}, "above emotion_max_replicas"),
        ({"api_url": "javascript:alert(1)"}, "starts with http"),
        ({"google_insecure": "1"}, "google_insecure needs a google_endpoint"),
        ({"google_language": "English!"}, "TONETRACK_GOOGLE_LANGUAGE"),
        ({"bogus": "1"}, "There is no setting TONETRACK_BOGUS"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, str], says: str) -> None:
    failed = tonetrack("config", **settings)
    assert failed.returncode == 1
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is tuned, which is Linux's")
def test_sound_that_has_gone_leaves_the_memory_of_redis() -> None:
    """Where what stays was written in between, twice as much used to stay with it."""
    with up._embedded_redis() as (address, process), redis.Redis.from_url(address) as client:

        def memory() -> int:
            return psutil.Process(process.pid).memory_info().rss

        at_rest, frames = memory(), 2_000
        for number in range(frames):
            client.set(f"sound {number}", os.urandom(16_000))
            client.set(f"event {number}", os.urandom(500))
        full = memory()
        client.delete(*(f"sound {number}" for number in range(frames)))
        assert full - at_rest > frames * 16_000
        assert memory() - at_rest < 0.2 * (full - at_rest)


def test_redis_takes_a_quarter_of_the_memory_and_forgets_nothing() -> None:
    """It took all there was, and what the machine does then befalls whoever is recorded."""
    with up._embedded_redis() as (address, _), redis.Redis.from_url(address) as client:
        assert client.config_get("maxmemory*")["maxmemory"] == str(round(psutil.virtual_memory().total / 4))
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


def test_no_redis_where_one_is_named() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    failed = tonetrack("up", "--port", str(free_port()), "--ui-port", str(free_port()), redis_url=url)
    assert failed.returncode == 1
    assert "No Redis answers at TONETRACK_REDIS_URL" in failed.stderr


def test_config_keeps_secrets() -> None:
    printed = tonetrack("config", redis_url="redis://:hunter2@somewhere:6379").stdout
    assert "hunter2" not in printed
    assert "TONETRACK_PORT=8000" in printed


def test_the_page_knows_who_tells_speakers_apart() -> None:
    """It says so where sound goes to Google."""
    settings = Settings(redis_url="redis://somewhere:6379", diariser="google")
    assert up._page_environment(settings)["TONETRACK_DIARISER"] == "google"


def test_help_explains() -> None:
    assert "until Ctrl-C" in tonetrack("up", "--help").stdout
    assert "--consent" in tonetrack("record", "--help").stdout


def test_health(service: Service) -> None:
    assert httpx.get(f"{service.api}/healthz").json() == {"status": "alive"}
    ready = httpx.get(f"{service.api}/readyz").json()
    assert (ready["status"], set(ready["parts"].values())) == ("ready", {"ok"})
    assert httpx.get(f"{service.api}/openapi.json").json()["info"]["title"] == "ToneTrack"


def test_a_killed_page_comes_back_and_takes_nothing_with_it(service: Service) -> None:
    """It used to end the whole service."""
    killed = service.kill("ui.server")
    deadline = time.monotonic() + 60
    while killed in service.processes() or not answers(f"{service.page}/healthz"):
        assert time.monotonic() < deadline, "the page does not come back"
        time.sleep(0.1)
    assert service.process.poll() is None


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def runs(pid: int) -> bool:
    """Whether a process does, and does not merely wait for a machine's first process to take note of its end."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_it_ends_everything_that_it_started_and_starts_again_at_once() -> None:
    """Ended by SIGTERM, as containers are; that it also ends by Ctrl-C, all other tests rely on."""
    with running_service() as service:
        mine = service.processes()
        assert any("redis-server" in command for command in mine.values())
        assert any("ui.server" in command for command in mine.values())
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
    assert_ended(service, mine)
    with running_service() as service:  # it used to stay up without its Redis, with everything broken
        mine = service.processes()
        service.kill("redis-server")
        assert service.process.wait(60) == 1
        assert "Redis ended by itself." in service.log.read_text()
    assert_ended(service, mine)


def assert_ended(service: Service, mine: dict[int, str]) -> None:
    left = {pid: command for pid, command in mine.items() if runs(pid)}
    assert not left, left
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(service.api.rsplit(":", 1)[1]))) != 0


def test_nobody_else_reaches_its_ray(service: Service) -> None:
    """Whoever does may run code in it. What listens to the network answers nobody who has no token."""
    ours = {urlsplit(url).port for url in (service.api, service.page)}
    heard_outside: dict[int, str] = {}
    for pid, command in service.processes().items():
        for socket_ in psutil.Process(pid).net_connections("tcp"):
            if socket_.status == psutil.CONN_LISTEN and not ip_address(socket_.laddr.ip).is_loopback:
                mapped = getattr(ip_address(socket_.laddr.ip), "ipv4_mapped", None)
                if not (mapped and mapped.is_loopback):
                    heard_outside[socket_.laddr.port] = command
    assert not ours & heard_outside.keys()
    assert all("ServeReplica" in command for command in heard_outside.values()), heard_outside
    for port, command in heard_outside.items():
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            ask = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                ask(b"", timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED, command


def test_its_ray_carries_nothing_that_nobody_needs(service: Service) -> None:
    commands = service.processes()
    assert not [command for command in commands.values() if "monitor.py" in command]
    if sys.platform == "linux":  # elsewhere nobody but root may see what another process has mapped
        mapped = {file.path for pid in commands for file in psutil.Process(pid).memory_maps()}
        assert any("/tensorflow/" in path for path in mapped)
        assert not [path for path in mapped if {"pandas", "pyarrow", "sklearn"} & set(Path(path).parts)]
