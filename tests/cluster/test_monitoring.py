"""What operators see: that it is complete, that Prometheus can read it, that each alert comes when it should."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.checks import _matches
from tests.cluster.monitoring import (
    JOB,
    alerts,
    dashboard,
    declared,
    exported,
    groups,
    monitor,
    named,
    panels,
    queries,
    tool,
)
from tests.cluster.overlays import CLUSTER, OVERLAYS, manifests, pods
from ui.palette import LIGHT


@pytest.mark.parametrize("overlay", ["production", "gpu"])
def test_every_ray_pod_is_scraped(overlay: str) -> None:
    rendered = manifests(OVERLAYS / overlay)
    spec = monitor()
    (endpoint,) = spec["podMetricsEndpoints"]
    for pod in pods(rendered):
        assert _matches(spec["selector"], pod.labels) == pod.of.startswith("RayService/"), pod.of
        if pod.of.startswith("RayService/"):
            assert endpoint["port"] in {port["name"] for c in pod.containers for port in c["ports"]}
            assert pod.labels[spec["jobLabel"]] == JOB


def test_the_dashboard_is_where_grafana_looks_for_it_and_a_laptop_has_none() -> None:
    (board,) = (m for m in manifests(OVERLAYS / "production") if "dashboard" in m["metadata"]["name"])
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(board["data"]["dashboard.json"]) == dashboard()
    assert not [m for m in manifests(OVERLAYS / "kind") if m["apiVersion"].startswith("monitoring.coreos.com/")]


def test_what_is_scraped_is_what_is_asked_for() -> None:
    (endpoint,) = monitor()["podMetricsEndpoints"]
    (kept,) = (r["regex"] for r in endpoint["metricRelabelings"] if r["action"] == "keep")
    asked = named(*queries().values(), *(alert["expr"] for alert in alerts().values()))
    assert {name for name in asked if not re.fullmatch(kept, name)} == set()
    nodes = {name for name in asked if name.startswith("ray_node_")}
    assert kept.endswith(f"ray_node_({'|'.join(sorted(name.removeprefix('ray_node_') for name in nodes))})")


def test_whatever_is_measured_is_on_the_dashboard() -> None:
    drawn = named(*queries().values())
    assert [metric.info["name"] for metric in declared() if not exported(metric) & drawn] == []


def test_the_dashboard_is_tidy() -> None:
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in everything)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len(set(places)), "two panels lie on each other"
    assert len(places) == 24 * (max(y for _, y in places) + 1), "it has holes, or is wider than Grafana's grid"
    assert len(queries()) == sum(len(panel["targets"]) for panel in panels())
    for panel in panels():
        assert re.fullmatch(r"(?!.*\. ).+\.", panel["description"]), f"{panel['title']}: not one sentence"
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${source}"


def test_emotions_have_the_colours_of_the_page() -> None:
    (readings, *others) = (panel["fieldConfig"]["overrides"] for panel in panels() if "{{label}}" in str(panel))
    colours = {o["matcher"]["options"]: o["properties"][0]["value"]["fixedColor"] for o in readings}
    assert colours.items() >= LIGHT.emotions.items()
    assert others == [readings]


def test_an_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for name, alert in alerts().items():
        assert name.startswith("ToneTrack")
        assert alert["labels"]["severity"] in ("critical", "warning"), name
        assert list(alert["annotations"]) == ["summary", "description", "action"], name
        assert all(text.endswith(".") for text in alert["annotations"].values()), name


def test_the_readme_explains_every_alert_in_its_own_words() -> None:
    rows = [
        f"| `{name}` | {alert['annotations']['summary']} | {alert['annotations']['action']} |"
        for name, alert in alerts().items()
    ]
    assert [
        line for line in (CLUSTER / "README.md").read_text().splitlines() if line.startswith("| `ToneTrack")
    ] == rows


def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    asked = [{"record": f"asked:{number}", "expr": expr} for number, expr in enumerate(queries().values())]
    told = {"groups": [*groups()["groups"], {"name": "dashboard", "rules": asked}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(told))
    assert _promtool("check", "rules", "--lint-fatal", tmp_path / "rules.yaml") == ""


# An hour like any other, a sample a minute. What happened before is over, and some of what happens is nobody's fault.
HOUR = 60
OURS = 'application="tonetrack"'
HEALTHY = {
    'ray_tonetrack_lag_seconds_bucket{le="1.0"}': "0+96",
    'ray_tonetrack_lag_seconds_bucket{le="2.5"}': "0+100",
    'ray_tonetrack_lag_seconds_bucket{le="+Inf"}': "0+100",
    'ray_tonetrack_dropped_sessions_total{WorkerId="a"}': "3+0",
    'ray_tonetrack_restored_sessions_total{WorkerId="a"}': "40+0",
    'ray_tonetrack_refused_recorders_total{WorkerId="a",reason="busy"}': "9+0",
    'ray_tonetrack_refused_recorders_total{WorkerId="a",reason="wrong_key"}': "0+1",
    'ray_tonetrack_redis_errors_total{WorkerId="a",operation="append"}': "2+0",
    'ray_tonetrack_redis_seconds_bucket{operation="append",le="0.1"}': "0+96",
    'ray_tonetrack_redis_seconds_bucket{operation="append",le="0.25"}': "0+100",
    'ray_tonetrack_redis_seconds_bucket{operation="append",le="+Inf"}': "0+100",
    'ray_tonetrack_recordings{state="waiting",WorkerId="a"}': "0+0",
    'ray_tonetrack_recordings{state="running",WorkerId="a"}': "2+0",
    'ray_tonetrack_recordings{state="dead",WorkerId="a"}': "0+0",
    'ray_tonetrack_webhooks_total{outcome="delivered"}': "0+4",
    'ray_tonetrack_webhooks_total{outcome="pending"}': "0+1",
    'ray_tonetrack_google_seconds_count{outcome="answered"}': "0+9",
    'ray_tonetrack_google_seconds_count{outcome="quota"}': "0+1",
    f'ray_serve_num_http_requests_total{{{OURS},route="/v1/sessions",status_code="201"}}': "0+100",
    f'ray_serve_num_http_requests_total{{{OURS},route="/v1/sessions",status_code="503"}}': "0+1",
    f'ray_serve_autoscaling_target_replicas{{{OURS},deployment="Diariser"}}': "2+0",
    f'ray_serve_deployment_replica_healthy{{{OURS},deployment="Diariser",replica="a"}}': "1+0",
    f'ray_serve_deployment_replica_healthy{{{OURS},deployment="Diariser",replica="b"}}': "1+0",
    f"ray_serve_application_status{{{OURS}}}": "6+0",
    f'up{{job="{JOB}"}}': "1+0",
    'ray_tonetrack_redis_memory_ratio{WorkerId="a"}': "0.3+0",
    f'ray_node_mem_used{{job="{JOB}",ip="a"}}': "6+0",
    f'ray_node_mem_total{{job="{JOB}",ip="a"}}': "8+0",
    'ray_node_mem_used{job="somebody-else",ip="b"}': "8+0",
    'ray_node_mem_total{job="somebody-else",ip="b"}': "8+0",
}
RARELY = {"evaluation_interval": "5m"}  # it takes promtool a fifth of the time
NEVER = f"_x{HOUR}"
JUST_NOW = f"_x{HOUR - 3} 1x3"  # the first of its kind, of a process that has told nothing of it before
INCIDENTS: list[tuple[str, dict[str, str]]] = [
    (
        "ToneTrackLate",
        {
            'ray_tonetrack_lag_seconds_bucket{le="1.0"}': "0+90",
            'ray_tonetrack_lag_seconds_bucket{le="2.5"}': "0+92",
        },
    ),
    ("ToneTrackSoundLost", {'ray_tonetrack_dropped_sessions_total{WorkerId="b"}': JUST_NOW}),
    ("ToneTrackFull", {'ray_tonetrack_refused_recorders_total{WorkerId="b",reason="busy"}': JUST_NOW}),
    ("ToneTrackRestoring", {'ray_tonetrack_restored_sessions_total{WorkerId="a"}': f"40x{HOUR - 4} 52x3"}),
    ("ToneTrackRestoring", {'ray_tonetrack_repeated_hops_total{WorkerId="b"}': f"_x{HOUR - 3} 120x3"}),
    ("ToneTrackRedisFails", {'ray_tonetrack_redis_errors_total{WorkerId="b",operation="publish"}': JUST_NOW}),
    ("ToneTrackRedisSlow", {'ray_tonetrack_redis_seconds_bucket{operation="append",le="0.1"}': "0+90"}),
    ("ToneTrackRecordingsWait", {'ray_tonetrack_recordings{state="waiting",WorkerId="a"}': "0x20 4x40"}),
    ("ToneTrackRecordingsLaidAside", {'ray_tonetrack_recordings{state="dead",WorkerId="a"}': f"0x{HOUR - 1} 1x0"}),
    ("ToneTrackWebhooksFail", {'ray_tonetrack_webhooks_total{outcome="delivered"}': NEVER}),
    ("ToneTrackGoogleFails", {'ray_tonetrack_google_seconds_count{outcome="quota"}': "0+3"}),
    (
        "ToneTrackHttpErrors",
        {f'ray_serve_num_http_requests_total{{{OURS},route="/v1/sessions",status_code="503"}}': "0+5"},
    ),
    (
        "ToneTrackReplicasMissing",
        {
            f'ray_serve_deployment_replica_healthy{{{OURS},deployment="Diariser",replica="a"}}': NEVER,
            f'ray_serve_deployment_replica_healthy{{{OURS},deployment="Diariser",replica="b"}}': NEVER,
        },
    ),
    ("ToneTrackMemoryFull", {f'ray_node_mem_used{{job="{JOB}",ip="a"}}': "7.5+0"}),
    ("ToneTrackRedisFilling", {'ray_tonetrack_redis_memory_ratio{WorkerId="a"}': "0.9+0"}),
    ("ToneTrackHeadAway", {f"ray_serve_application_status{{{OURS}}}": NEVER}),
    ("ToneTrackSilent", {f'up{{job="{JOB}"}}': NEVER, f"ray_serve_application_status{{{OURS}}}": NEVER}),
]


def test_an_incident_raises_its_alert_and_no_other(tmp_path: Path) -> None:
    assert {name for name, _ in INCIDENTS} == alerts().keys()
    tests = [_hour({}, []), *(_hour(series, [name]) for name, series in INCIDENTS)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups()))
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(RARELY | {"rule_files": ["rules.yaml"], "tests": tests}))
    assert _promtool("test", "rules", tmp_path / "test.yaml") == ""


def _hour(incident: dict[str, str], raised: list[str]) -> dict[str, Any]:
    """An hour with an incident, and the alerts that are to come of it, as promtool takes it."""
    told = [
        {"series": series, "values": values if "x" in values else f"{values}x{HOUR}"}
        for series, values in (HEALTHY | incident).items()
    ]
    asked = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{HOUR}m",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in raised],
    }
    return {"interval": "1m", "input_series": told, "promql_expr_test": [asked]}


def _promtool(*arguments: str | Path) -> str:
    """What it complains of."""
    done = subprocess.run([tool("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
