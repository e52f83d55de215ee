"""The Dockerfile, what it calls and what starts it, held against everything that can be known without an engine."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from deployments.own_ray import OBJECT_STORE
from deployments.settings import Settings
from tests.cluster import compose, image
from tests.cluster.image import CONTAINER, DOCKERFILE
from tests.cluster.overlays import CLUSTER
from tests.cluster.sandbox import bytes_of
from tests.conftest import missing
from tests.service import ROOT

BIN = Path(sys.executable).parent
TARGETS = ["cpu", "gpu", "train"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def lint(text: str) -> str:
    """What hadolint has to say of a Dockerfile, the shell in it included."""
    done = subprocess.run([BIN / "hadolint", "-"], input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_linter_finds_nothing() -> None:
    assert lint(DOCKERFILE.read_text()) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("python:3.11.14-slim-bookworm@sha256:", "python:latest # ", "DL3007"),
        ("--no-install-recommends ", "", "DL3015"),
        (" && rm -rf /var/lib/apt/lists/*", "", "DL3009"),
        ("WORKDIR /app", "WORKDIR app", "DL3000"),
        ("COPY ui /app/ui", "ADD ui /app/ui", "DL3020"),
        ('CMD ["tonetrack", "up"', 'CMD tonetrack "up"', "DL3025"),
        ("USER 1000:1000", "USER root", "DL3002"),
    ],
)
def test_the_linter_would_find(right: str, wrong: str, rule: str) -> None:
    text = re.sub(r" \\\n +", " ", DOCKERFILE.read_text())
    assert right in text
    assert rule in lint(text.replace(right, wrong))


def test_scripts_are_sound() -> None:
    script = CONTAINER / "install.sh"
    assert os.access(script, os.X_OK)
    done = subprocess.run([BIN / "shellcheck", script], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_a_script_that_is_called_wrongly_says_how() -> None:
    done = subprocess.run([CONTAINER / "install.sh", "everything"], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "install.sh dependencies VENV LOCK" in done.stderr


def test_every_base_is_pinned_to_its_content() -> None:
    known = image.stages()
    bases = {stage.of for stage in known.values() if stage.of not in known}
    assert [base for base in bases if not re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base)] == []


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_copied_is_there_and_is_sent(target: str) -> None:
    copied = [found for step in image.steps(target) if (found := image.copy(step))]
    assert {found.stage for found in copied if found.stage} <= image.stages().keys()
    sources = [source for found in copied if not found.stage for source in found.sources]
    assert "deployments" in sources
    assert [source for source in sources if not (ROOT / source).exists() or not image.sent(source)] == []


def test_the_build_sees_what_it_needs_and_nothing_else() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    sent = {path for path in listed if image.sent(path)}
    needed = {path for path in listed if path.startswith(("deployments/", "pipeline/", "training/", "ui/"))} - {
        path for path in listed if path.startswith("ui/screenshots/")
    }
    assert needed <= sent
    assert {path.split("/")[0] for path in sent - needed} == {
        "LICENSE", "README.md", "cluster", "pyproject.toml", "requirements",
    }  # fmt: skip
    strangers = [".git/config", ".venv/bin/python", "tests/service.py", "var/talk.wav", "ui/__pycache__/main.pyc"]
    strangers += ["cluster/container/secrets/redis_password", ".env"]
    assert [path for path in strangers if image.sent(path)] == []


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_nobody_who_matters_and_ends_when_told(target: str) -> None:
    assert image.last(target, "USER") == "1000:1000"
    assert image.words(target, "ENTRYPOINT") == ["tini", "--"]
    assert image.words(target, "CMD")[:2] == ["tonetrack", "up"]
    assert image.words(target, "HEALTHCHECK")[-1].endswith("/readyz")
    assert image.environment(target, "/bin")["PYTHONPATH"] == image.last(target, "WORKDIR") == "/app"


def test_what_changes_seldom_comes_first() -> None:
    """A change of code alone installs no library anew."""
    order = [step for step in image.steps("cpu") if step[0] in ("COPY", "RUN")]
    (libraries,) = (at for at, (_, rest) in enumerate(order) if "install.sh dependencies" in rest)
    (code,) = (at for at, (_, rest) in enumerate(order) if rest.startswith("deployments "))
    assert libraries < code


def test_images_are_called_by_the_version() -> None:
    assert f'image.version="{VERSION}"' in image.last("cpu", "LABEL")
    assert compose.read()["services"]["tonetrack"]["image"] == f"tonetrack:{VERSION}"
    assert compose.read("docker-compose.gpu.yml")["services"]["tonetrack"]["image"] == f"tonetrack:{VERSION}-gpu"
    tags = re.findall(r"newTag: (\S+?)\}", "".join(path.read_text() for path in CLUSTER.rglob("kustomization.yaml")))
    assert set(tags) <= {VERSION, f"{VERSION}-gpu", f"{VERSION}-train"}


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.gpu.yml"])
def test_compose_files_are_as_specified(name: str) -> None:
    compose.check(compose.read(name))


def tonetrack(composed: dict[str, Any]) -> dict[str, Any]:
    return dict(composed["services"])["tonetrack"]


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an option that there is none of": lambda c: tonetrack(c).update(readonly=True),
    "a policy that there is none of": lambda c: tonetrack(c).update(restart="sometimes"),
    "no duration": lambda c: tonetrack(c).update(stop_grace_period="soon"),
    "no size": lambda c: tonetrack(c).update(shm_size="many"),
    "no condition": lambda c: tonetrack(c)["depends_on"].update(redis={"condition": "healthy"}),
    "no such network": lambda c: tonetrack(c)["networks"].append("back"),
    "no such volume": lambda c: c["volumes"].pop("sound"),
    "no such secret": lambda c: c["secrets"].clear(),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_compose_file_is_found(wrong: str) -> None:
    composed = copy.deepcopy(compose.read())
    WRONG[wrong](composed)
    with pytest.raises(ValueError, match=r"\w"):
        compose.check(composed)


SERVICES = compose.services(DOMAIN="tonetrack.example.org")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert set(service.get("cap_add", [])) <= {"NET_BIND_SERVICE"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"]
    assert "build" in service or re.fullmatch(r"\w+:[\w.-]+@sha256:[0-9a-f]{64}", service["image"])


def test_only_the_proxy_is_reached_from_elsewhere() -> None:
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert published["redis"] == []
    assert published["tonetrack"] == ["127.0.0.1:8000:8000", "127.0.0.1:5006:5006"]
    assert SERVICES["caddy"]["profiles"] == ["tls"]
    assert SERVICES["redis"]["networks"] == ["store"]
    assert compose.read()["networks"]["store"]["internal"] is True


def test_no_password_stands_in_a_compose_file() -> None:
    assert compose.read()["secrets"] == {"redis_password": {"file": "./secrets/redis_password"}}
    ignored = subprocess.run(["git", "check-ignore", "-q", "cluster/container/secrets/redis_password"], cwd=ROOT)
    assert ignored.returncode == 0
    for service in SERVICES.values():
        assert not [name for name in service.get("environment", {}) if re.search("PASSWORD|SECRET|REDIS_URL", name)]


@pytest.mark.parametrize("domain", ["", "tonetrack.example.org"])
def test_what_is_set_are_settings(domain: str) -> None:
    gpu = compose.filled(compose.read("docker-compose.gpu.yml"))["services"]["tonetrack"]["environment"]
    given = compose.services(DOMAIN=domain)["tonetrack"]["environment"] | gpu
    ours = {name.removeprefix("TONETRACK_").lower(): value for name, value in given.items() if "TONETRACK_" in name}
    settings = Settings(**ours)
    assert settings.api_url == (f"https://{domain}" if domain else "")
    with pytest.raises(ValidationError):
        Settings(**ours, bogus="1")


def test_there_is_room_for_what_ray_shares() -> None:
    assert bytes_of(SERVICES["tonetrack"]["shm_size"]) > OBJECT_STORE


def site() -> list[dict[str, Any]]:
    """What the Caddyfile does for its host, as Caddy reads it."""
    caddy = shutil.which("caddy")
    if caddy is None:
        missing("no Caddy here to read its configuration")
    done = subprocess.run(
        [str(caddy), "adapt", "--config", CONTAINER / "Caddyfile", "--adapter", "caddyfile", "--validate"],
        env=os.environ | {"DOMAIN": "tonetrack.example.org"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (server,) = yaml.safe_load(done.stdout)["apps"]["http"]["servers"].values()
    (named,) = server["routes"]
    assert named["match"] == [{"host": ["tonetrack.example.org"]}]
    done_with: list[dict[str, Any]] = named["handle"][0]["routes"]
    return done_with


def doors() -> list[tuple[list[str], dict[str, Any]]]:
    """Paths, and what is done with requests for them, by the name of who does it."""
    found = []
    for route in site():
        if "routes" not in route["handle"][0]:
            continue
        handlers = {handler["handler"]: handler for handler in route["handle"][0]["routes"][0]["handle"]}
        found.append(([path for match in route.get("match", []) for path in match["path"]], handlers))
    return found


def routes() -> list[tuple[list[str], str, int]]:
    """Paths, where they lead, and the largest body in bytes."""
    return [
        (
            paths,
            handlers["reverse_proxy"]["upstreams"][0]["dial"],
            handlers.get("request_body", {}).get("max_size", 0),
        )
        for paths, handlers in doors()
    ]


def test_the_proxy_leads_where_the_ingress_does_and_lets_uploads_through() -> None:
    (api, to_api, limit), (rest, to_page, _) = routes()
    assert (to_api, to_page, rest) == ("tonetrack:8000", "tonetrack:5006", [])
    assert limit > Settings().max_upload_bytes
    (ingress, *_) = yaml.safe_load_all((CLUSTER / "base" / "ingress.yaml").read_text())
    paths = [path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert [path.removesuffix("/*") for path in api] == paths


def test_nobody_chooses_the_address_that_guesses_are_counted_for() -> None:
    """The page's server believes X-Real-IP before X-Forwarded-For, and the proxy let anybody's through."""
    for _, handlers in doors():
        told = handlers["reverse_proxy"]["headers"]["request"]["set"]
        assert told == {"X-Real-Ip": ["{http.request.remote.host}"]}


def test_browsers_are_told_to_come_back_over_tls_alone() -> None:
    (told,) = (route["handle"][0]["response"]["set"] for route in site() if route["handle"][0]["handler"] == "headers")
    assert told["Strict-Transport-Security"] == ["max-age=31536000"]


def test_the_proxy_without_a_name_says_what_is_missing() -> None:
    command = compose.services()["caddy"]["command"]
    done = subprocess.run(command, env={"PATH": "/bin", "DOMAIN": ""}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "DOMAIN must name this host" in re.sub(r": ", " ", done.stderr)


def test_a_missing_secret_stops_the_service() -> None:
    for name in ("redis", "tonetrack"):
        command = compose.services()[name]["command"]
        done = subprocess.run(command, env={"PATH": "/bin"}, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "/run/secrets/redis_password" in done.stderr
