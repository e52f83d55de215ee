"""Spans on their way out: to a file and to a collector, both real; the spans are made as Serve makes them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.status import Status, StatusCode
from ray.serve._private import tracing_utils

from deployments.own_ray import TRACED_WORKERS
from deployments.traces import span_processors

SECRET = "a-secret-that-nobody-may-read"


class Collector:
    """What speaks OTLP over HTTP."""

    def __init__(self) -> None:
        bodies = self.bodies = list[bytes]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def work(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that fails."""
    monkeypatch.setenv("TONETRACK_TRACES", place)
    provider = TracerProvider()
    for processor in tracing_utils._load_span_processors(TRACED_WORKERS["RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"], ""):
        provider.add_span_processor(processor)
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("proxy_http_request") as span:
        span.set_attribute("http.route", "/v1/sessions")
        span.set_attribute("url.query", f"name={SECRET}")
        span.record_exception(ValueError(SECRET))
        span.set_status(Status(StatusCode.ERROR, SECRET))
        with tracer.start_as_current_span("replica_handle_request"):
            pass
    provider.shutdown()


def test_a_file_gets_a_line_a_span(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "spans.jsonl"
    work(str(file), monkeypatch)
    assert SECRET not in file.read_text()
    within, around = map(json.loads, file.read_text().splitlines())
    assert within["parent_id"] == around["context"]["span_id"]
    assert around["attributes"] == {"http.route": "/v1/sessions", "errors": ["ValueError"]}
    assert around["status"] == {"status_code": "ERROR"}


def test_a_collector_gets_them_too(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    work(collector.url, monkeypatch)
    (body,) = collector.bodies
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    names = [span.name for scope in resource.scope_spans for span in scope.spans]
    assert names == ["replica_handle_request", "proxy_http_request"]
    assert SECRET.encode() not in body


def test_nothing_is_traced_unless_somebody_wants_it() -> None:
    assert span_processors() == []
