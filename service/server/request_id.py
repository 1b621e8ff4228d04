"""Request identification in logs and traces: X-Request-Id, and the traceparent of W3C Trace Context."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import NamedTuple

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")
UNTRACED = "00"


class TraceContext(NamedTuple):
    """Request id and traceparent of one request, as its response states them."""

    request_id: str
    traceparent: str


def trace_context(headers: Mapping[bytes, bytes]) -> TraceContext:
    """Keep a client's request id, if it matches REQUEST_ID, and continue its trace; else begin new ones.

    `headers` has lower-case names. Flags are passed on as they came (W3C Trace Context, 3.2.2.5).
    """
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    request_id = given if REQUEST_ID.fullmatch(given) else _id(128)
    return TraceContext(request_id, continue_trace(headers.get(b"traceparent", b"").decode("latin-1")))


def continue_trace(parent: str) -> str:
    """The traceparent of this service's span in the trace of `parent`; in a new trace if `parent` is invalid."""
    found = TRACEPARENT.fullmatch(parent)
    if found is None or (found[1] == "00" and found[4]):
        return f"00-{_id(128)}-{_id(64)}-{UNTRACED}"
    return f"00-{found[2]}-{_id(64)}-{found[3]}"


def _id(bits: int) -> str:
    """A random hexadecimal id. It may be guessable, and the system's randomness would cost a thread switch."""
    return f"{random.getrandbits(bits):0{bits // 4}x}"
