"""The manifests, rendered and held against everything that can be known of them without a cluster."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from deployments.settings import Settings
from tests.cluster import checks
from tests.cluster.overlays import CLUSTER, OVERLAYS, Manifest, manifests, serve_config

Check = Callable[[list[Manifest]], Iterator[str]]
FOLDERS = [*(OVERLAYS / name for name in ("kind", "production", "gpu")), CLUSTER / "training"]


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_nothing_is_wrong_with_what_is_rendered(folder: Path, check: Check) -> None:
    assert list(check(manifests(folder))) == []


@pytest.mark.parametrize("overlay", ["kind", "production", "gpu"])
def test_the_serve_config_is_the_file_that_serve_deploy_takes(overlay: str) -> None:
    rendered = manifests(OVERLAYS / overlay)
    (service,) = (manifest for manifest in rendered if manifest["kind"] == "RayService")
    assert service["spec"]["serveConfigV2"] == serve_config(overlay)
    assert not any(manifest["metadata"]["name"].startswith("serve") for manifest in rendered), "it stands there twice"


def test_a_changed_setting_makes_new_pods() -> None:
    """The names of ConfigMaps tell their content, and whoever takes them names them."""
    (before,) = _settings_of(manifests(OVERLAYS / "kind"))
    assert before.startswith("tonetrack-settings-")
    assert before not in _settings_of(manifests(OVERLAYS / "production"))


def _settings_of(objects: list[Manifest]) -> set[str]:
    used = [reference for pod in checks.pods(objects) for reference in checks._used(pod)]
    return {name for kind, name in used if kind == "ConfigMap" and "settings" in name}


def test_what_is_applied_by_hand_is_known_to_kubernetes() -> None:
    assert list(checks.schema([yaml.safe_load((CLUSTER / "training" / "copier.yaml").read_text())])) == []


def test_workers_come_and_go_with_what_is_deployed() -> None:
    """The autoscaler brings a worker for what finds no room, a new version beside the old one included."""
    (service,) = (m for m in manifests(OVERLAYS / "production") if m["kind"] == "RayService")
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    cores = float(group["rayStartParams"]["num-cpus"])
    assert cores <= float(group["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"])
    least, most = _cores(serve_config("production"))
    assert least <= group["minReplicas"] * cores < most <= group["maxReplicas"] * cores


def _cores(config: str) -> tuple[float, float]:
    """What an application claims when little is to be done, and at most."""
    (application,) = yaml.safe_load(config)["applications"]
    told = Settings(redis_url=SecretStr("redis://somewhere"), **application["args"])
    each = {
        "Ingress": told.ingress_cpus,
        "Diariser": told.diariser_cpus,
        "EmotionRecogniser": told.emotion_cpus,
        "RecordingWorker": told.recording_cpus,
    }
    least = most = told.session_actors * told.session_cpus
    for deployment in application["deployments"]:
        scaling = deployment.get("autoscaling_config", {})
        fixed = deployment.get("num_replicas")
        fewest = fixed or scaling.get("min_replicas", told.recording_min_workers)
        largest = fixed or scaling.get("max_replicas", told.recording_max_workers)
        surge = math.ceil(largest * deployment.get("max_surge_percent", 0) / 100)
        least += fewest * each[deployment["name"]]
        most += (largest + surge) * each[deployment["name"]]
    return least, most


def test_a_managed_redis_takes_the_place_of_ours(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: [{_from(overlay, OVERLAYS / 'production')}]\n"
        f"components: [{_from(overlay, CLUSTER / 'components' / 'managed-redis')}]\n"
    )
    rendered = manifests(overlay)
    assert not [m for m in rendered if m["metadata"]["name"].startswith("redis-store")]
    for pod in checks.pods(rendered):
        for container in pod.containers:
            names = {variable["name"]: variable for variable in container.get("env", [])}
            if "TONETRACK_REDIS_URL" in names:
                assert names["TONETRACK_REDIS_URL"]["valueFrom"]["secretKeyRef"]["key"] == "url"
                assert "REDIS_STORE_PASSWORD" not in names
    for check in checks.ALL:
        assert list(check(rendered)) == []


def _from(folder: Path, other: Path) -> str:
    return str(Path(*[".."] * len(folder.parts[1:])) / other.relative_to("/"))


def at(objects: list[Manifest], name: str) -> Any:
    (found,) = (m for m in objects if checks.named(m).startswith(name))
    return found["spec"]


def container(objects: list[Manifest], name: str) -> Any:
    return at(objects, name)["template"]["spec"]["containers"][0]


WRONG: dict[str, tuple[Check, Callable[[list[Manifest]], Any]]] = {
    "unknown field": (checks.schema, lambda o: at(o, "Deployment/tonetrack-ui").update(replica=2)),
    "unknown field of KubeRay's": (checks.schema, lambda o: at(o, "RayService/").update(serveConfig="")),
    "field of a wrong type": (
        checks.schema,
        lambda o: at(o, "RayService/")["rayClusterConfig"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
    ),
    "no such port": (checks.references, lambda o: at(o, "Service/tonetrack-ui")["ports"][0].update(targetPort="ui")),
    "selects nothing": (
        checks.references,
        lambda o: at(o, "PodDisruptionBudget/tonetrack-ui")["selector"]["matchLabels"].update(a="b"),
    ),
    "no such map": (
        checks.references,
        lambda o: container(o, "Deployment/tonetrack-ui")["envFrom"][0]["configMapRef"].update(name="tonetrack"),
    ),
    "no such secret": (
        checks.references,
        lambda o: container(o, "StatefulSet/redis-gcs")["env"][0]["valueFrom"]["secretKeyRef"].update(name="redis"),
    ),
    "no such key of a secret": (
        checks.references,
        lambda o: container(o, "StatefulSet/redis-gcs")["env"][0]["valueFrom"]["secretKeyRef"].update(key="password"),
    ),
    "no such certificate": (
        checks.references,
        lambda o: at(o, "Ingress/tonetrack-ui")["tls"][0].update(secretName="tls"),
    ),
    "nothing to monitor": (
        checks.references,
        lambda o: at(o, "PodMonitor/")["selector"]["matchLabels"].update(a="b"),
    ),
    "no such port to monitor": (
        checks.references,
        lambda o: at(o, "PodMonitor/")["podMetricsEndpoints"][0].update(port="numbers"),
    ),
    "unknown field of the Prometheus Operator's": (
        checks.schema,
        lambda o: at(o, "PodMonitor/")["podMetricsEndpoints"][0].update(relabeling=[]),
    ),
    "an alert without an expression": (
        checks.schema,
        lambda o: at(o, "PrometheusRule/")["groups"][0]["rules"][0].pop("expr"),
    ),
    "no such volume": (
        checks.references,
        lambda o: container(o, "Deployment/tonetrack-ui")["volumeMounts"][0].update(name="data"),
    ),
    "no such account": (
        checks.references,
        lambda o: at(o, "Deployment/tonetrack-ui")["template"]["spec"].update(serviceAccountName="nobody"),
    ),
    "no such backend": (
        checks.references,
        lambda o: at(o, "Ingress/tonetrack-ui")["rules"][0]["http"]["paths"][0]["backend"]["service"].update(name="x"),
    ),
    "latest": (checks.policy, lambda o: container(o, "StatefulSet/redis-store").update(image="redis:latest")),
    "no version": (checks.policy, lambda o: container(o, "StatefulSet/redis-store").update(image="host:5000/redis")),
    "root": (
        checks.policy,
        lambda o: at(o, "RayService/")["rayClusterConfig"]["headGroupSpec"]["template"]["spec"].pop("securityContext"),
    ),
    "no limit": (checks.policy, lambda o: container(o, "Deployment/tonetrack-ui")["resources"]["limits"].pop("memory")),
    "no probe": (checks.policy, lambda o: container(o, "Deployment/tonetrack-ui").pop("livenessProbe")),
    "a password": (
        checks.policy,
        lambda o: container(o, "Deployment/tonetrack-ui")["env"].append({"name": "REDIS_PASSWORD", "value": "redis"}),
    ),
    "a password in an address": (
        checks.policy,
        lambda o: container(o, "Deployment/tonetrack-ui")["env"][1].update(value="redis://:redis@redis-store:6379/0"),
    ),
    "a password in a file": (
        checks.policy,
        lambda o: next(m for m in o if checks.named(m).startswith("ConfigMap/redis-"))["data"].update(
            {"redis.conf": "requirepass redis"}
        ),
    ),
    "open to everyone": (
        checks.isolation,
        lambda o: at(o, "Deployment/tonetrack-ui")["template"]["metadata"].update(labels={"app": "ui"}),
    ),
    "a secret": (
        checks.policy,
        lambda o: o.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tonetrack-redis"}}),
    ),
    "no such setting": (
        checks.settings,
        lambda o: container(o, "Deployment/tonetrack-ui")["env"].append({"name": "TONETRACK_PORTS", "value": "1"}),
    ),
    "a bad value": (
        checks.settings,
        lambda o: container(o, "Deployment/tonetrack-ui")["env"].append({"name": "TONETRACK_PORT", "value": "99999"}),
    ),
    "Ray without its environment": (
        checks.settings,
        lambda o: at(o, "RayService/")["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0][
            "envFrom"
        ].pop(),
    ),
    "a deployment that there is none of": (checks.serve, lambda o: _in_serve(o, "Diariser", "Diarizer")),
    "an option that Serve has not": (checks.serve, lambda o: _in_serve(o, "num_replicas", "replicas")),
    "a setting that there is none of": (checks.serve, lambda o: _in_serve(o, "session_actors", "actors")),
}


def _in_serve(objects: list[Manifest], old: str, new: str) -> None:
    spec = at(objects, "RayService/")
    spec["serveConfigV2"] = spec["serveConfigV2"].replace(old, new)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_found(wrong: str) -> None:
    check, make = WRONG[wrong]
    objects = copy.deepcopy(manifests(OVERLAYS / "production"))
    make(objects)
    assert list(check(objects))
