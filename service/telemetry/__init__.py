"""Prometheus metrics and OpenTelemetry traces."""

from service.telemetry.cached_reading import CachedReading
from service.telemetry.metrics import METRIC_PREFIX, MULTIPROC_DIR_VARIABLE, Metrics
from service.telemetry.tracing import RequestTrace, Tracing, TracingMiddleware

__all__ = [
    "METRIC_PREFIX",
    "MULTIPROC_DIR_VARIABLE",
    "CachedReading",
    "Metrics",
    "RequestTrace",
    "Tracing",
    "TracingMiddleware",
]
