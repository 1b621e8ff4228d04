"""Prometheus metrics and OpenTelemetry traces."""

from service.telemetry.cached_reading import CachedReading
from service.telemetry.metrics import FOLDER_VARIABLE, PREFIX, Metrics
from service.telemetry.tracing import Report, Traced, Tracing

__all__ = ["FOLDER_VARIABLE", "PREFIX", "CachedReading", "Metrics", "Report", "Traced", "Tracing"]
