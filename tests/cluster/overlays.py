"""What the manifests say: as files, as kustomize renders them, and the pods that would come of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import missing
from tests.service import ROOT

CLUSTER = ROOT / "cluster"
OVERLAYS = CLUSTER / "overlays"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod's template and whose it is."""

    of: str
    labels: dict[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        """All of them, those that come before included."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def serve_config(overlay: str, **settings: Any) -> str:
    """The text of an overlay's `serveConfigV2`; with further settings, as an operator would add them."""
    text = (OVERLAYS / overlay / "serve.yaml").read_text()
    if not settings:
        return text
    config = yaml.safe_load(text)
    (application,) = config["applications"]
    application["args"] = application.get("args", {}) | settings
    return yaml.safe_dump(config)


@cache
def render(folder: Path) -> str:
    """What kustomize makes of a folder; skips the test where it is missing."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        missing("no kubectl here to render the manifests")
    done = subprocess.run([str(kubectl), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def manifests(folder: Path) -> list[Manifest]:
    """The objects of a folder."""
    return [document for document in yaml.safe_load_all(render(folder)) if document]


def named(manifest: Manifest) -> str:
    """What an object is called in messages."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def pods(objects: list[Manifest]) -> Iterator[Pod]:
    """The templates of all pods."""
    for manifest in objects:
        spec = manifest.get("spec", {})
        cluster = spec.get("rayClusterConfig") or spec.get("rayClusterSpec")
        templates = [spec["template"]] if "template" in spec else []
        if cluster:
            groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
            templates += [group["template"] for group in groups]
            templates += [spec["submitterPodTemplate"]] if "submitterPodTemplate" in spec else []
        for template in templates:
            yield Pod(named(manifest), template["metadata"].get("labels", {}), template["spec"])


def crd_schema(kind: str) -> Manifest:
    """KubeRay's schema of one of its kinds, in which what it does not name is an error; skips where it is missing."""
    folder = Path(os.environ.get("TONETRACK_CRDS") or ROOT.parent / "shared" / "schemas")
    file = folder / f"ray.io_{kind.lower()}s.yaml"
    if not file.is_file():
        missing(f"no KubeRay schema at {file}; TONETRACK_CRDS names another folder")
    (version,) = (v for v in _crd(file)["spec"]["versions"] if v["name"] == "v1")
    schema: Manifest = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return _closed(schema)


@cache
def _crd(file: Path) -> Any:
    return yaml.load(file.read_text(), yaml.CSafeLoader)


def _closed(schema: Any) -> Any:
    """A schema that takes no property which it does not name, as Kubernetes' API server has it."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("anyOf", None)
        closed["type"] = ["integer", "string"]
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed
