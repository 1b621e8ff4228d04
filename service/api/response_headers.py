"""Response headers of predictions, and the X-Timeout-Ms request header."""

from __future__ import annotations

import time

from starlette.types import Scope

from service.engine import RequestResult, ServedModel
from service.engine.batching import MAX_TIMEOUT_MS
from service.errors import ProblemError
from service.telemetry import RequestTrace
from triggers.store.store import version_name


def served_headers(scope: Scope, model: ServedModel, result: RequestResult) -> dict[str, str]:
    """Server-Timing (milliseconds) and X-Trigger of an answer; stores a RequestTrace in the scope for tracing."""
    stages = {"decode": result.decode, "queue": result.queue, "infer": result.infer}
    versions = dict.fromkeys(outcome.answer.version for outcome in result.items if outcome.answer)
    trigger = ", ".join(f"{model.name}@{version_name(version)}" for version in versions)
    rows = max((timing.batch_size for timing in result.timings), default=0)
    scope.setdefault("state", {})["report"] = RequestTrace(time.time_ns(), stages, rows, trigger)
    timing = ", ".join(f"{name};dur={seconds * 1e3:.3f}" for name, seconds in stages.items())
    return {"Server-Timing": timing, "X-Trigger": trigger}


def timeout_ms(header: str | None) -> int | None:
    """The X-Timeout-Ms header; None if there is none. Raises ProblemError."""
    if header is None:
        return None
    if not (header.isascii() and header.isdigit() and len(header) < 10 and 1 <= int(header) <= MAX_TIMEOUT_MS):
        detail = f"X-Timeout-Ms is {header[:100]!r}; send whole milliseconds, 1 to {MAX_TIMEOUT_MS}."
        raise ProblemError(422, "invalid_request", detail)
    return int(header)
