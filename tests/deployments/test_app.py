"""The graph, started in the ways that operators start it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from deployments.app import build
from deployments.context import Context
from deployments.ingress import build_api
from deployments.own_ray import QUIET_WORKERS
from deployments.settings import Settings
from tests.service import ROOT, record, running_redis

CONFIG = ROOT / "cluster" / "overlays" / "kind" / "serve.yaml"
SERVE = Path(sys.executable).parent / "serve"


def test_the_graph_is_what_the_settings_say() -> None:
    settings = Settings(redis_url="redis://nowhere:1", emotion_gpus=0.25, emotion_max_replicas=3)
    ingress = build(settings)._bound_deployment
    diariser, recogniser, worker = (argument._bound_deployment for argument in ingress.init_args[1:])
    names = ("Ingress", "Diariser", "EmotionRecogniser", "RecordingWorker")
    assert (ingress.name, diariser.name, recogniser.name, worker.name) == names
    assert recogniser.ray_actor_options["num_gpus"] == 0.25
    assert recogniser._deployment_config.autoscaling_config.max_replicas == 3
    assert worker._deployment_config.autoscaling_config.max_replicas == settings.recording_max_workers


def test_the_serve_config_is_valid() -> None:
    (application,) = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text())).applications
    assert application.import_path == "deployments.app:build"
    assert set(application.args) <= set(Settings.model_fields)


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_a_page_on_another_port_may_ask_with_a_key_but_not_with_cookies(method: str) -> None:
    nothing: Any = None
    asked = {
        "Origin": "http://localhost:5006",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,x-api-key",
    }
    transport = httpx.ASGITransport(build_api(Context(Settings(), nothing, nothing, nothing, nothing, nothing)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as http:
        preflight = await http.options("/v1/sessions/anything/speakers/1", headers=asked)
        refused = await http.options("/v1/sessions/anything", headers=asked | {"Access-Control-Request-Method": "PUT"})
        alive = await http.get("/healthz", headers={"Origin": "http://localhost:5006"})
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "http://localhost:5006"
    assert method in preflight.headers["Access-Control-Allow-Methods"].split(", ")
    assert {"Authorization", "Content-Type"} <= set(preflight.headers["Access-Control-Allow-Headers"].split(", "))
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    assert refused.status_code == 400
    assert alive.headers["Access-Control-Allow-Origin"] == "http://localhost:5006"


@contextmanager
def serve_run(target: str, redis_url: str, log: Path) -> Iterator[None]:
    environment = os.environ | QUIET_WORKERS | {"TONETRACK_REDIS_URL": redis_url, "RAY_ADDRESS": "local"}
    with log.open("w") as messages:
        process = subprocess.Popen(
            [SERVE, "run", target],
            cwd=ROOT,
            env=environment,
            stdout=messages,
            stderr=messages,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


async def ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    async with httpx.AsyncClient(timeout=5) as http:
        while time.monotonic() < deadline:
            try:
                if (await http.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.3)
    raise AssertionError(log.read_text())


@pytest.mark.slow
async def test_serve_run_starts_the_same_graph(tmp_path: Path, small_conversation: Any) -> None:
    """By its import path; `tests.cluster` deploys the config files."""
    url, log = "http://127.0.0.1:8000", tmp_path / "messages"
    with running_redis(tmp_path) as redis_url, serve_run("deployments.app:build", redis_url, log):
        await ready(url, log)
        session, _, seconds = await record(url, small_conversation[0], pace=0)
        assert seconds == pytest.approx(len(small_conversation[0]) / 16_000)
        assert (await session.get())["speakers"] == [1, 2]
