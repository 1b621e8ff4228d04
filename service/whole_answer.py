"""A whole answer in one write: head and body as one packet, where the server's own way is two, and two system calls.

An extension of ASGI (its specification, "Extensions") that our protocol offers and the hot path uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

WHOLE = "fairtrigger.whole_answer"
CLOSE = (b"connection", b"close")


def offer(cycle: RequestResponseCycle) -> None:
    """Let the application of this request answer in one write: `write(status, headers, body) -> whether it was`."""
    cycle.scope["extensions"] = {WHOLE: {"write": partial(_write, cycle)}}


def _write(cycle: RequestResponseCycle, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
    """Headers are lower-case and state the body's length. False where the usual way has more to do: use that."""
    if cycle.flow.write_paused or cycle.disconnected or cycle.access_log:
        return False
    cycle.keep_alive = cycle.keep_alive and CLOSE not in headers
    lines = [*cycle.default_headers, *headers]
    if not cycle.keep_alive and CLOSE not in headers:
        lines.append(CLOSE)
    head = b"".join([STATUS_LINE[status], *[b"%b: %b\r\n" % line for line in lines], b"\r\n"])
    if head.count(b"\n") != len(lines) + 2:
        raise RuntimeError("A header holds a line break.")
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    cycle.transport.write(head + body)
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
