"""What operators see: the alerts, the dashboard, the metrics that these name, and a Prometheus that knows them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from ray.util.metrics import Counter, Gauge, Histogram

from deployments import metrics
from tests.cluster.overlays import CLUSTER, Manifest
from tests.conftest import missing
from tests.service import free_port

COMPONENT = CLUSTER / "components" / "monitoring"
JOB = "tonetrack"  # what `jobLabel` finds on our pods
METRIC = re.compile(r"\bray_\w+")
GRAFANA = {"$__rate_interval": "1m", "$__range": "1h"}  # what it writes in their place, more or less

Metric = Counter | Gauge | Histogram


def declared() -> list[Metric]:
    """The metrics of ours."""
    return [metric for metric in vars(metrics).values() if isinstance(metric, Metric)]


def exported(metric: Metric) -> set[str]:
    """The names under which Ray exports a metric."""
    name = f"ray_{metric.info['name']}"
    if isinstance(metric, Histogram):
        return {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    return {f"{name}_total" if isinstance(metric, Counter) else name}


def monitor() -> Manifest:
    """What is scraped."""
    spec: Manifest = yaml.safe_load((COMPONENT / "pod-monitor.yaml").read_text())["spec"]
    return spec


def groups() -> Manifest:
    """The rules as Prometheus itself reads them."""
    spec: Manifest = yaml.safe_load((COMPONENT / "rules.yaml").read_text())["spec"]
    return spec


def alerts() -> dict[str, Manifest]:
    """The alerts by name."""
    return {rule["alert"]: rule for group in groups()["groups"] for rule in group["rules"]}


def dashboard() -> Manifest:
    """The dashboard."""
    board: Manifest = json.loads((COMPONENT / "dashboard.json").read_text())
    return board


def panels() -> list[Manifest]:
    """Its panels, but for the rows' titles."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """What the panels ask, by panel and legend, as Grafana would send it."""
    asked = {f"{p['title']}, {t['legendFormat']}": t["expr"] for p in panels() for t in p["targets"]}
    for variable, value in GRAFANA.items():
        asked = {name: expr.replace(variable, value) for name, expr in asked.items()}
    return asked


def named(*exprs: str) -> set[str]:
    """The metrics that queries name."""
    return {name for expr in exprs for name in METRIC.findall(expr)}


def tool(name: str) -> str:
    """Path of a program of Prometheus'; skips where it is missing."""
    path = shutil.which(name)
    if path is None:
        missing(f"no {name} here: install prometheus")
    return str(path)


@dataclass(frozen=True)
class Prometheus:
    """A server that scrapes and evaluates the rules each second. `since`: Unix time from which on it does."""

    url: str
    since: float = field(default_factory=time.time)

    def get(self, path: str, **query: Any) -> Any:
        """What its API answers."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def drawn(self, expr: str) -> list[Any]:
        """The series that a panel would draw of all that was scraped."""
        drawn: list[Any] = self.get("query_range", query=expr, start=self.since, end=time.time(), step=1)["result"]
        return drawn


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a service as our PodMonitor has it, with our rules."""
    (endpoint,) = monitor()["podMetricsEndpoints"]
    relabelings = [
        {re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", key): value for key, value in relabeling.items()}
        for relabeling in endpoint["metricRelabelings"]
    ]
    host, _, path = target.removeprefix("http://").partition("/")
    scraped = {"targets": [host]}
    job = {"job_name": JOB, "metrics_path": f"/{path}", "metric_relabel_configs": relabelings} | {
        "static_configs": [scraped]
    }
    (folder / "rules.yaml").write_text(yaml.safe_dump(groups()))
    often = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yaml").write_text(
        yaml.safe_dump({"global": often, "rule_files": ["rules.yaml"], "scrape_configs": [job]})
    )
    port = free_port()
    options = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data", "--log.level=error"]
    process = subprocess.Popen([tool("prometheus"), *options, f"--web.listen-address=127.0.0.1:{port}"])
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as http:  # it backs off, up to some seconds each
            http.get(f"{url}/-/healthy").raise_for_status()
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(10)
