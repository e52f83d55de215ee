"""The Prometheus Operator's kinds, as far as they are used here.

No package that we test with carries its schemas, and Kubernetes drops a field that it does not know. What is not named
here is an error: add it when it is used, from the operator's API reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Duration = Annotated[str, Field(pattern=r"^([0-9]+(ms|[smhdwy]))+$")]
Labels = dict[str, str]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Strict):
    name: str
    namespace: str
    labels: Labels


class Expression(Strict):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] = []


class Selector(Strict):
    matchLabels: Labels = {}
    matchExpressions: list[Expression] = []


class Relabeling(Strict):
    sourceLabels: list[str] = []
    targetLabel: str | None = None
    regex: str = "(.*)"
    replacement: str | None = None
    action: Literal["replace", "keep", "drop", "labeldrop", "labelkeep"] = "replace"


class Endpoint(Strict):
    port: str
    interval: Duration | None = None
    scrapeTimeout: Duration | None = None
    relabelings: list[Relabeling] = []
    metricRelabelings: list[Relabeling] = []


class Pods(Strict):
    jobLabel: str | None = None
    selector: Selector
    podMetricsEndpoints: list[Endpoint] = Field(min_length=1)


class PodMonitor(Strict):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: Metadata
    spec: Pods


class Alert(Strict):
    alert: str
    expr: str
    wait: Annotated[Duration | None, Field(alias="for")] = None
    labels: Labels
    annotations: Labels


class Group(Strict):
    name: str = Field(min_length=1)
    interval: Duration | None = None
    rules: list[Alert]


class Groups(Strict):
    groups: list[Group]


class PrometheusRule(Strict):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PrometheusRule"]
    metadata: Metadata
    spec: Groups


ANY: TypeAdapter[Any] = TypeAdapter(Annotated[PodMonitor | PrometheusRule, Field(discriminator="kind")])


def wrong(manifest: dict[str, Any]) -> Iterator[str]:
    """A sentence for everything that is wrong with an object of the operator's."""
    try:
        ANY.validate_python(manifest)
    except ValidationError as error:
        for found in error.errors():
            yield f"{'/'.join(map(str, found['loc']))}: {found['msg']}"
