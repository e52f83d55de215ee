"""What docker-compose.yml says, as data."""

from __future__ import annotations

import re
from typing import Any

import yaml
from compose_spec import PyCompose

from tests.cluster.image import CONTAINER

Service = dict[str, Any]


def read(name: str = "docker-compose.yml") -> dict[str, Any]:
    """A file as it stands, merges done."""
    return dict(yaml.safe_load((CONTAINER / name).read_text()))


def check(composed: dict[str, Any]) -> None:
    """Raises `ValueError` for what the specification does not know, and for references to nothing."""
    # It takes no image with both a tag and a digest, as Docker does and as people can read.
    text = yaml.safe_dump(composed, sort_keys=False)
    parsed = PyCompose.from_yaml(re.sub(r"(image: [\w/.-]+):[\w.-]+(@sha256:[0-9a-f]{64})", r"\1\2", text))
    parsed.validate()
    mounts = [volume for service in composed["services"].values() for volume in service.get("volumes", [])]
    named = {mount.partition(":")[0] for mount in mounts if isinstance(mount, str) and mount[0] not in "./~"}
    if unknown := named - composed.get("volumes", {}).keys():  # it looks at long forms alone
        raise ValueError(f"there is no volume {', '.join(sorted(unknown))}")


def filled(value: Any, **environment: str) -> Any:
    """Variables in the place of their names, as compose does it: `${NAME:-else}`, `${NAME:+then}`, `$$`."""
    if isinstance(value, list):
        return [filled(item, **environment) for item in value]
    if isinstance(value, dict):
        return {key: filled(item, **environment) for key, item in value.items()}
    if not isinstance(value, str):
        return value

    def one(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        given = environment.get(found["name"], "")
        if found["how"] == "+":
            return str(filled(found["other"], **environment)) if given else ""
        return given or (found["other"] or "")

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(:(?P<how>[-+])(?P<other>(\$\{\w+\}|[^}])*))?\}", one, value)


def services(**environment: str) -> dict[str, Service]:
    """All services, variables filled in."""
    found: dict[str, Service] = filled(read()["services"], **environment)
    return found
