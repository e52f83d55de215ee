"""The Redis of the manifests: its own commands and settings, run here as the container would."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.exceptions import AuthenticationError, OutOfMemoryError
from redis.retry import Retry

from deployments.up import redis_server
from tests.cluster.overlays import OVERLAYS, manifests
from tests.service import free_port

PASSWORD = "of-the-tests-alone"
MEGABYTE = 2**20


@contextmanager
def pod(folder: Path, limit: int) -> Iterator[tuple[redis.Redis, Any, dict[str, str]]]:
    """The pod of redis-store, in a folder: a client, its container, and what a probe finds in its environment."""
    rendered = manifests(OVERLAYS / "kind")
    (stateful,) = (m for m in rendered if m["kind"] == "StatefulSet" and m["metadata"]["name"] == "redis-store")
    spec = stateful["spec"]["template"]["spec"]
    (settings,) = (volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume)
    (files,) = (m["data"] for m in rendered if m["kind"] == "ConfigMap" and m["metadata"]["name"] == settings)
    for name in ("settings", "run/redis", "data"):
        (folder / name).mkdir(parents=True)
    for name, text in files.items():
        (folder / "settings" / name).write_text(text)

    def here(words: list[str]) -> list[str]:
        for place in ("/settings", "/run/redis", "/data"):
            words = [word.replace(place, f"{folder}{place}") for word in words]
        return words

    port = free_port()
    environment = {"PATH": f"{Path(redis_server()).parent}:{os.environ['PATH']}", "REDISCLI_AUTH": PASSWORD}
    (configure,), (container,) = spec["initContainers"], spec["containers"]
    secret = {"PASSWORD": PASSWORD, "LIMIT": str(limit)}
    subprocess.run(here(configure["command"]), env=environment | secret, check=True)
    server = subprocess.Popen(
        [*here(container["command"]), "--port", str(port)], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        waiting = Retry(ConstantBackoff(0.1), 50)
        with redis.Redis(port=port, password=PASSWORD, retry=waiting, retry_on_error=[redis.ConnectionError]) as client:
            client.ping()
            yield client, container, environment
    finally:
        server.terminate()
        server.wait(10)


def test_it_wants_its_password_and_its_probes_know_it(tmp_path: Path) -> None:
    with pod(tmp_path, limit=100 * MEGABYTE) as (client, container, environment):
        port = client.get_connection_kwargs()["port"]
        with redis.Redis(port=port, retry=Retry(ConstantBackoff(0), 0)) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        assert client.config_get("append*")["appendonly"] == "yes"
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            shell, option, line = container[probe]["exec"]["command"]
            assert PASSWORD not in line
            line = line.replace("redis-cli", f"redis-cli -p {port}")
            for password, well in ((PASSWORD, True), ("wrong", False)):
                known = environment | {"REDISCLI_AUTH": password}
                done = subprocess.run([shell, option, line], env=known, capture_output=True, check=False)
                assert (done.returncode == 0) is well


def test_a_full_one_refuses_to_be_written_to_and_keeps_what_it_has(tmp_path: Path) -> None:
    """It had no bound, so that a container that is full would have been killed, again and again."""
    with pod(tmp_path, limit=30 * MEGABYTE) as (client, _, _):
        for number in range(10):
            client.set(f"sound:{number}", bytes(MEGABYTE))
        with pytest.raises(OutOfMemoryError):
            client.mset({f"more:{number}": bytes(MEGABYTE) for number in range(10)})
        assert client.get("sound:9") == bytes(MEGABYTE)
