"""Where the spans of requests go: to a file, a line of JSON each, or to a collector that speaks OTLP over HTTP.

Ray Serve makes them in its proxies and replicas, FastAPI within a request, and `span_processors` says what takes them.
They tell of routes, deployments and times. What errors say is taken out, as it is of the log (`pipeline.logs`), and so
is what a URL asks for: whoever enrols a voice gives its name there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.status import Status

from deployments.settings import Settings

QUERIES: Final = {"url.query", "url.full", "http.url", "http.target"}


def span_processors() -> list[SpanProcessor]:
    """What takes the spans of this process; it finds its settings in the environment, for Serve hands it nothing."""
    place = Settings().traces
    if not place:
        return []
    return [BatchSpanProcessor(Discreet(_collector(place) if "://" in place else _File(place)))]


class Discreet(SpanExporter):
    """Hands on spans without what errors said, and what was asked for."""

    def __init__(self, to: SpanExporter) -> None:
        self._to = to

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand them on."""
        return self._to.export([_without_words(span) for span in spans])

    def shutdown(self) -> None:
        """Let go of what takes them."""
        self._to.shutdown()


class _File(SpanExporter):
    """Many processes write to it: each batch is appended at once."""

    def __init__(self, path: str) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = "".join(span.to_json(indent=None) + "\n" for span in spans)
        with open(self._path, "ab", buffering=0) as file:
            file.write(lines.encode())
        return SpanExportResult.SUCCESS


def _collector(url: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(url)


def _without_words(span: ReadableSpan) -> ReadableSpan:
    """The same span; of its events, which are errors, the kind alone."""
    attributes = {name: value for name, value in (span.attributes or {}).items() if name not in QUERIES}
    kinds = [str((event.attributes or {}).get("exception.type", event.name)) for event in span.events]
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes | ({"errors": kinds} if kinds else {}),
        links=span.links,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )
