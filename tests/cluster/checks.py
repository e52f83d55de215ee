"""What must be true of rendered manifests. Each check yields a sentence for everything that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from pydantic import ValidationError
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import DeploymentSchema, ServeDeploySchema

from deployments.app import build
from deployments.own_ray import QUIET_WORKERS
from deployments.settings import Settings
from tests.cluster import operator_kinds
from tests.cluster.overlays import Manifest, Pod, crd_schema, named, pods

KUBERNETES = "1.31"
# What an operator makes (cluster/README.md says how), and what KubeRay makes of a RayService.
GIVEN = {"Secret/tonetrack-redis", "Secret/tonetrack-tls", "Service/tonetrack-serve-svc"}
KEYS = {"tonetrack-redis": {"store", "gcs", "url"}}
SERVED = {"tonetrack-serve-svc": {"serve": "serve", "8000": "serve"}}
VOLUMES = {"configMap": "name", "secret": "secretName", "persistentVolumeClaim": "claimName"}
KINDS = {"configMap": "ConfigMap", "secret": "Secret", "persistentVolumeClaim": "PersistentVolumeClaim"}
NAMED = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}
OTHERS = {"TONETRACK_DATA"}  # where training finds the corpora
PROBED = ("readinessProbe", "livenessProbe", "startupProbe")
SECRET = re.compile(r"password|secret|token|_key$|credential", re.IGNORECASE)
LITERAL = re.compile(r"://[^/@\s]*:[^$@\s/][^@\s/]*@|requirepass\s+[\"']?[^\"'$\s]")  # what is not taken from elsewhere
UNDECLARED = {52365}  # Ray's agent, which KubeRay asks whether a node is well


def schema(objects: list[Manifest]) -> Iterator[str]:
    """Against Kubernetes' own schemas, KubeRay's, and what we know of the Prometheus Operator's."""
    for manifest in objects:
        if manifest["apiVersion"].startswith("ray.io/"):
            validator = jsonschema.Draft7Validator(crd_schema(manifest["kind"]))
            for error in validator.iter_errors(manifest):
                yield f"{named(manifest)}: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        elif manifest["apiVersion"].startswith("monitoring.coreos.com/"):
            yield from (f"{named(manifest)}: {wrong}" for wrong in operator_kinds.wrong(manifest))
        else:
            try:
                kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{named(manifest)}: {error}"


def references(objects: list[Manifest]) -> Iterator[str]:
    """Whatever is named exists, and every selector selects something."""
    there = {named(manifest) for manifest in objects} | GIVEN
    for pod in pods(objects):
        for kind, name in _used(pod):
            if f"{kind}/{name}" not in there:
                yield f"{pod.of}: there is no {kind} {name}"
        for secret, key in _secret_keys(pod):
            if key not in KEYS.get(secret, ()):
                yield f"{pod.of}: the Secret {secret} has no {key}"
        mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        claimed = {claim["metadata"]["name"] for claim in _claims(objects, pod)}
        if unknown := mounted - {volume["name"] for volume in pod.spec.get("volumes", [])} - claimed:
            yield f"{pod.of}: mounts no volume {', '.join(sorted(unknown))}"
    for manifest in objects:
        yield from _selections(manifest, objects)
        if manifest["kind"] == "Ingress":
            yield from _backends(manifest, objects)
            for tls in manifest["spec"].get("tls", []):
                if f"Secret/{tls['secretName']}" not in there:
                    yield f"{named(manifest)}: there is no Secret {tls['secretName']}"


def _claims(objects: list[Manifest], pod: Pod) -> list[Manifest]:
    return [
        claim
        for manifest in objects
        if named(manifest) == pod.of
        for claim in manifest["spec"].get("volumeClaimTemplates", [])
    ]


def _used(pod: Pod) -> Iterator[tuple[str, str]]:
    if account := pod.spec.get("serviceAccountName"):
        yield "ServiceAccount", account
    for volume in pod.spec.get("volumes", []):
        for source, key in VOLUMES.items():
            if source in volume:
                yield KINDS[source], volume[source][key]
    for container in pod.containers:
        for source in container.get("envFrom", []):
            for kind, reference in source.items():
                yield kind[0].upper() + kind[1:].removesuffix("Ref"), reference["name"]
        for variable in container.get("env", []):
            for kind, reference in variable.get("valueFrom", {}).items():
                if kind in NAMED:
                    yield NAMED[kind], reference["name"]


def _secret_keys(pod: Pod) -> Iterator[tuple[str, str]]:
    for container in pod.containers:
        for variable in container.get("env", []):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"], reference["key"]


def _matches(selector: Manifest, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items()
    among = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in among)
    return all(labels.get(key) == value for key, value in wanted) and all(
        labels.get(expression["key"]) in expression["values"] for expression in among
    )


def _selections(manifest: Manifest, objects: list[Manifest]) -> Iterator[str]:
    spec, kind = manifest.get("spec", {}), manifest["kind"]
    selectors: list[tuple[Manifest, list[Manifest]]] = []
    if kind == "Service":
        selectors = [({"matchLabels": spec["selector"]}, spec["ports"])]
    elif kind == "PodDisruptionBudget":
        selectors = [(spec["selector"], [])]
    elif kind == "PodMonitor":
        selectors = [(spec["selector"], spec["podMetricsEndpoints"])]
    elif kind == "NetworkPolicy":
        rules = [rule for way in ("ingress", "egress") for rule in spec.get(way, [])]
        peers = [peer for rule in rules for peer in (*rule.get("from", []), *rule.get("to", []))]
        selectors = [
            (spec["podSelector"], [port for rule in spec.get("ingress", []) for port in rule.get("ports", [])])
        ]
        selectors += [(peer["podSelector"], []) for peer in peers if "podSelector" in peer]
    for selector, ports in selectors:
        chosen = [pod for pod in pods(objects) if _matches(selector, pod.labels)]
        if not chosen:
            yield f"{named(manifest)}: selects nothing by {selector}"
        declared = [port for pod in chosen for c in pod.containers for port in c.get("ports", [])]
        known = {port[key] for port in declared for key in ("name", "containerPort")}
        for port in ports:
            target = port.get("targetPort", port.get("port"))
            if target not in known | UNDECLARED:
                yield f"{named(manifest)}: no port {target} among {', '.join(sorted(map(str, known)))}"


def _backends(ingress: Manifest, objects: list[Manifest]) -> Iterator[str]:
    services = {m["metadata"]["name"]: m["spec"]["ports"] for m in objects if m["kind"] == "Service"}
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            service = path["backend"]["service"]
            ports = {port["name"] for port in services.get(service["name"], [])} or set(SERVED.get(service["name"], {}))
            if service["port"].get("name") not in ports:
                yield f"{named(ingress)}: {path['path']} leads to no port of {service['name']}"


def policy(objects: list[Manifest]) -> Iterator[str]:
    """Nothing as root, nothing unbounded, nothing that changes by itself, nothing secret."""
    for pod in pods(objects):
        if not pod.spec.get("securityContext", {}).get("runAsNonRoot"):
            yield f"{pod.of}: may run as root"
        if pod.spec.get("securityContext", {}).get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{pod.of}: without a seccomp profile"
        for container in pod.containers:
            yield from _container(pod, container, first=container in pod.spec.get("initContainers", []))
    for manifest in objects:
        if manifest["kind"] == "Secret":
            yield f"{named(manifest)}: a secret stands in the repository"
        for key, value in _literals(manifest):
            if SECRET.search(key) and isinstance(value, str) and value and "$(" not in value:
                yield f"{named(manifest)}: {key} is a secret and stands in the manifest"
        if found := next(filter(None, map(LITERAL.search, _texts(manifest))), None):
            yield f"{named(manifest)}: {found[0]} is a secret and stands in the manifest"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _container(pod: Pod, container: Manifest, first: bool) -> Iterator[str]:
    where, context = f"{pod.of}, {container['name']}", container.get("securityContext", {})
    _, _, tag = container["image"].rpartition("/")[2].partition(":")
    if tag in ("", "latest"):
        yield f"{where}: the image {container['image']} has no version"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{where}: may gain privileges"
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{where}: keeps capabilities"
    if not context.get("readOnlyRootFilesystem"):
        yield f"{where}: may write to its image"
    for bound in ("requests", "limits"):
        if lacking := {"cpu", "memory"} - container.get("resources", {}).get(bound, {}).keys():
            yield f"{where}: no {bound} of {', '.join(sorted(lacking))}"
    # KubeRay adds its own probes to the first container of Ray's pods; a job's submitter ends by itself.
    if not pod.of.startswith(("RayService/", "RayJob/")) and not first:
        for probe in PROBED:
            if probe not in container:
                yield f"{where}: no {probe}"


def _literals(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    """Names and values of what is configured."""
    yield from (manifest.get("data") or {}).items() if manifest["kind"] == "ConfigMap" else ()
    for pod in pods([manifest]):
        for container in pod.containers:
            yield from ((variable["name"], variable.get("value")) for variable in container.get("env", []))


def isolation(objects: list[Manifest]) -> Iterator[str]:
    """Whatever no policy names is shut, both ways."""
    policies = [manifest["spec"] for manifest in objects if manifest["kind"] == "NetworkPolicy"]
    for pod in pods(objects):
        shut = {way for p in policies if _matches(p["podSelector"], pod.labels) for way in p["policyTypes"]}
        if shut != {"Ingress", "Egress"}:
            yield f"{pod.of}: no policy says who may speak to it, and to whom it may"


def settings(objects: list[Manifest]) -> Iterator[str]:
    """Every setting is one, its value is good, and Ray's processes find what they need."""
    maps = {m["metadata"]["name"]: m.get("data", {}) for m in objects if m["kind"] == "ConfigMap"}
    for pod in pods(objects):
        for container in pod.containers:
            found = {
                key: value
                for source in container.get("envFrom", [])
                for key, value in maps.get(source.get("configMapRef", {}).get("name"), {}).items()
            }
            plain = {v["name"]: v["value"] for v in container.get("env", []) if "value" in v}
            yield from _settings(f"{pod.of}, {container['name']}", found | plain)
            if pod.of.startswith("RayService/") and (lacking := QUIET_WORKERS.keys() - found.keys()):
                yield f"{pod.of}, {container['name']}: {', '.join(sorted(lacking))} not set"


def _settings(where: str, environment: dict[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if name.startswith("TONETRACK_") and name not in OTHERS:
            field = name.removeprefix("TONETRACK_").lower()
            try:
                Settings.model_validate({field: value.replace("$(", "(")})
            except ValidationError as error:
                yield f"{where}: {name}={value}: {error.errors()[0]['msg']}"


def serve(objects: list[Manifest]) -> Iterator[str]:
    """`serveConfigV2` is what Ray takes, and names each deployment of the graph."""
    for manifest in objects:
        if manifest["kind"] != "RayService":
            continue
        config = yaml.safe_load(manifest["spec"]["serveConfigV2"])
        try:
            (application,) = ServeDeploySchema.model_validate(config).applications
            graph = build(Settings(redis_url="redis://nowhere:1", **application.args))
        except (ValidationError, KeyError) as error:
            yield f"{named(manifest)}: serveConfigV2: {error}"
            continue
        ingress = graph._bound_deployment
        bound = {ingress.name, *(argument._bound_deployment.name for argument in ingress.init_args[1:])}
        written = {deployment.name for deployment in application.deployments}
        if written != bound:
            yield f"{named(manifest)}: serveConfigV2 names {sorted(written)}, the graph has {sorted(bound)}"
        for deployment in config["applications"][0]["deployments"]:  # Ray's schema passes over what it does not know
            unknown = deployment.keys() - DeploymentSchema.model_fields.keys()
            unknown |= deployment.get("autoscaling_config", {}).keys() - AutoscalingConfig.model_fields.keys()
            if unknown:
                yield f"{named(manifest)}: serveConfigV2: {deployment['name']} has no {', '.join(sorted(unknown))}"
        if "redis_url" in application.args:
            yield f"{named(manifest)}: serveConfigV2 holds the Redis URL, which Serve's API shows"


ALL = (schema, references, policy, isolation, settings, serve)
