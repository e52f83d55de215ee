"""The image's own steps in an empty folder, and what compose would run of it: see `sandbox.py` for what stands in."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import soundfile

from deployments.up import redis_server
from tests.cluster import compose
from tests.cluster.image import copy, sent, steps, words
from tests.cluster.sandbox import PATH, Sandbox, sandbox
from tests.conftest import missing
from tests.service import ROOT, Pcm
from tests.talkers import Said

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

PIPS = re.compile(r"PIP_|SSL_CERT|.*_proxy$", re.IGNORECASE)  # how this machine reaches packages
PASSWORD = "f00d" * 8
Note = Callable[[str, object], None]


def copied(sources: list[str], target: Path) -> None:
    """What a COPY takes from the working tree, as far as .dockerignore shows it."""
    for source in sources:
        files = [ROOT / source] if (ROOT / source).is_file() else (ROOT / source).rglob("*")
        into = target if (ROOT / source).is_dir() else target / Path(source).name
        for file in files:
            if file.is_file() and sent(str(file.relative_to(ROOT))):
                to = into / file.relative_to(ROOT / source) if (ROOT / source).is_dir() else into
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, to)


def package_index() -> dict[str, str]:
    """The part of the environment that says where packages come from."""
    config = Path.home() / ".config" / "pip" / "pip.conf"
    found = {name: value for name, value in os.environ.items() if PIPS.match(name)}
    return {"HOME": "/tmp"} | ({"PIP_CONFIG_FILE": str(config)} if config.is_file() else {}) | found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """What the target `cpu` holds besides its base, made by the Dockerfile's own steps."""
    folder = tmp_path_factory.mktemp("image")
    with sandbox(folder) as made:
        for step in steps("cpu"):
            copies = copy(step)
            if copies and not copies.stage:
                copied(copies.sources, folder / copies.target.strip("/"))
            elif "install.sh" in step[1] and step[0] == "RUN":
                command = re.sub(r"--mount=\S+ ", "", step[1])
                done = made.build(command, package_index())
                assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
        yield made
    shutil.rmtree(folder)


def run(image: Sandbox, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in the service's container, beside it."""
    service = compose.services()["tonetrack"] | {"volumes": [], "secrets": []}
    inner = image.command(service, ours=True, inner=list(command))
    return subprocess.run(inner, capture_output=True, text=True, check=False, timeout=120)


IMPORTS = """
import sys, deployments.app, deployments.drain, ui.server, training.cli, importlib.metadata, importlib.util
print(importlib.metadata.version("tonetrack"), *sys.path, sep="\\n")
print([name for name in ("torch", "pytest", "tests", "compose_spec") if importlib.util.find_spec(name)])
"""


def test_what_is_installed_is_the_service_and_nothing_of_the_tests(image: Sandbox) -> None:
    done = run(image, "sh", "-c", "cd / && exec python -c '" + IMPORTS.replace("'", '"') + "'")
    version, *path, strangers = done.stdout.splitlines()
    assert version == "0.1.0", done.stderr
    ours = ("/app", "/opt/tonetrack/", f"{sys.base_prefix}/", "__editable__.tonetrack")
    assert [place for place in path if place and not place.startswith(ours)] == []
    assert strangers == "[]"


@pytest.mark.parametrize(
    "command", ["tonetrack --help", "tonetrack config", "ray --version", "serve --help", "ray job submit --help"]
)
def test_the_commands_that_a_cluster_calls_are_on_the_path(image: Sandbox, command: str) -> None:
    done = run(image, *command.split())
    assert done.returncode == 0, done.stderr


def test_whoever_runs_it_cannot_change_it(image: Sandbox) -> None:
    done = run(image, "sh", "-c", "id -u; touch /app/deployments/app.py /opt/tonetrack/bin/ray /root/x; id -u")
    assert done.stdout.split() == ["1000", "1000"]
    assert done.stderr.count("Read-only file system") == 3


@contextmanager
def container(image: Sandbox, name: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A service of docker-compose.yml; what it says goes to a file of its name."""
    service = compose.services(**environment)[name]
    ours = name == "tonetrack"
    command = image.command(service, ours, service["command"], init=True)
    with (image.folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()  # and all in it, for the first process of the container goes with it
            process.wait(10)


def stop(process: subprocess.Popen[bytes], seconds: float) -> int:
    """`docker stop`: SIGTERM for a container's first process, and its status once it has ended by itself."""
    (first,) = psutil.Process(process.pid).children()
    first.send_signal(signal.SIGTERM)
    return process.wait(seconds)


def healthy(image: Sandbox, name: str, process: subprocess.Popen[bytes], seconds: float) -> float:
    """Wait until the health check of a running service passes; returns the seconds until then."""
    service, ours = compose.services()[name], name == "tonetrack"
    kind, *test = service["healthcheck"]["test"] if "healthcheck" in service else ["CMD", *words("cpu", "HEALTHCHECK")]
    command = image.command(service, ours, ["sh", "-c", *test] if kind == "CMD-SHELL" else test)
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        if subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == 0:
            return time.monotonic() - began
        assert process.poll() is None, (image.folder / f"{name}.log").read_text()[-3_000:]
        time.sleep(0.5)
    raise AssertionError(f"{name} is not healthy:\n" + (image.folder / f"{name}.log").read_text()[-3_000:])


def inside(image: Sandbox, *command: str, **environment: str) -> str:
    """What a program on the host says, once it has ended well; it reaches what the containers listen on."""
    done = subprocess.run(
        ["ip", "netns", "exec", image.network, *command],
        env={"PATH": PATH, "HOME": "/tmp"} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    return done.stdout


def keys(image: Sandbox) -> set[str]:
    redis_cli = str(image.folder / "bin" / "redis-cli")
    return set(inside(image, redis_cli, "keys", "*", REDISCLI_AUTH=PASSWORD).split())


def test_one_host_serves_a_conversation_over_tls_and_ends_in_time(
    image: Sandbox, small_conversation: tuple[Pcm, list[Said]], tmp_path: Path, note: Note
) -> None:
    if shutil.which("caddy") is None:
        missing("no Caddy here to stand before the service")
    (image.folder / "secrets").mkdir()
    (image.folder / "secrets" / "redis_password").write_text(f"{PASSWORD}\n")
    (image.folder / "bin").mkdir(exist_ok=True)
    for tool in ("redis-server", "redis-cli"):
        shutil.copy(Path(redis_server()).with_name(tool), image.folder / "bin")
    talk, heard = tmp_path / "talk.wav", tmp_path / "heard.json"
    soundfile.write(talk, small_conversation[0], 16_000)
    tonetrack = [sys.executable, "-m", "deployments.cli", "record", str(talk), "--purpose", "research", "--consent"]

    with container(image, "redis") as redis:
        healthy(image, "redis", redis, 20)
        with (
            container(image, "tonetrack", DOMAIN="localhost") as service,
            container(image, "caddy", DOMAIN="localhost") as caddy,
        ):
            note("container: start to healthy, s", healthy(image, "tonetrack", service, 150))
            trust = str(
                image.folder / "volumes" / "certificates" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
            )
            over_tls = ["--server", "https://localhost", "--pace", "4", "--output", str(heard)]
            inside(image, *tonetrack, *over_tls, SSL_CERT_FILE=trust)
            assert len(json.loads(heard.read_text())["speakers"]) == 2
            page = inside(image, "wget", "-qO-", f"--ca-certificate={trust}", "https://localhost/")
            assert "https://localhost" in page
            grace = float(compose.services()["tonetrack"]["stop_grace_period"].removesuffix("s"))
            began = time.monotonic()
            assert stop(service, grace) == 0
            note("container: SIGTERM to end, s", time.monotonic() - began)
            assert caddy.poll() is None
        before = keys(image)
        assert before
        assert stop(redis, 30) == 0
    with container(image, "redis") as redis:
        healthy(image, "redis", redis, 20)
        assert keys(image) == before
