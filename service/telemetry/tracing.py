"""OpenTelemetry traces, if enabled: one span per request, with child spans for decode, queue and infer.

A span has route, model, trigger and status; never an input, a group, a query or an address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.config import Settings
from triggers.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

NANOSECONDS = 1_000_000_000


class RequestTrace(NamedTuple):
    """Figures of a request for its span: no input, no group. `ended` is in ns since 1970, `stages` in seconds."""

    ended: int
    stages: dict[str, float]
    batch_size: int
    trigger: str


class Tracing:
    """Spans and their export in the background; an unreachable collector does not delay requests.

    Raises ConfigError if the extra `tracing` is not installed. `exporter` defaults to OTLP over HTTP.
    """

    def __init__(self, settings: Settings, release: str, exporter: SpanExporter | None = None) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ConfigError("Traces need OpenTelemetry: pip install 'fairtrigger[tracing]'.") from error
        resource = Resource.create({"service.name": "fairtrigger", "service.version": release})
        sampler = ParentBased(TraceIdRatioBased(settings.trace_share))
        self._provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        self._exporter, self._sending = exporter or _otlp(settings), BatchSpanProcessor
        self._tracer, self._api = self._provider.get_tracer("fairtrigger", release), trace
        self._parent = TraceContextTextMapPropagator().extract

    def start(self) -> None:
        """Start the thread that sends spans."""
        self._provider.add_span_processor(self._sending(self._exporter))

    def begin(self, scope: Scope) -> Span:
        """The span of one request, which continues the trace of its caller if it has one."""
        parent = self._parent({"traceparent": Headers(scope=scope).get("traceparent", "")})
        return self._tracer.start_span(scope["method"], parent, self._api.SpanKind.SERVER)

    def end(self, span: Span, scope: Scope) -> None:
        """End a request's span, with the route, status and stage times in its scope."""
        status = scope["state"].get("status", 500)
        route = getattr(scope.get("route"), "path", "unmatched")
        span.update_name(f"{scope['method']} {route}")
        span.set_attributes(
            {"http.request.method": scope["method"], "http.route": route, "http.response.status_code": status}
        )
        if status >= 500:
            span.set_status(self._api.StatusCode.ERROR)
        if request_id := scope["state"].get("request_id"):
            span.set_attribute("fairtrigger.request_id", request_id)
        if report := scope["state"].get("report"):
            self._detail(span, report)
        span.end()

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()

    def _detail(self, span: Span, report: RequestTrace) -> None:
        span.set_attributes({"fairtrigger.trigger": report.trigger, "fairtrigger.batch_size": report.batch_size})
        inside = self._api.set_span_in_context(span)
        start = report.ended - round(sum(report.stages.values()) * NANOSECONDS)
        for name, seconds in report.stages.items():
            child = self._tracer.start_span(name, inside, start_time=start)
            start += round(seconds * NANOSECONDS)
            child.end(start)


def _otlp(settings: Settings) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=settings.trace_endpoint)


class TracingMiddleware:
    """ASGI middleware: a span around every request; outermost, so that the response can name it in `traceparent`."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self.app, self.tracing = app, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on inside its span."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        span = self.tracing.begin(scope)
        state = scope.setdefault("state", {})
        if span.is_recording():
            context = span.get_span_context()
            state["traceparent"] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

        try:
            await self.app(scope, receive, send)
        finally:
            self.tracing.end(span, scope)
