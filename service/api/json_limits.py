"""How many things a JSON body holds, before a parser makes objects, and a validator errors, of millions of them."""

from __future__ import annotations

import re
from itertools import islice

from service.errors import ProblemError

_COUNTED = (b'"', b",", b"{", b"[")
_THING = re.compile(rb'"(?:[^"\\]++|(?:\\.)++)*+"?|[,{\[]', re.DOTALL)
"""A whole string - one that never ends goes to the end, so that no byte is read twice - or what begins a value."""
PER_ITEM = 24
"""Strings, commas and brackets of one input that uses every field there is, rounded up."""
FIXED = 200
"""The same of everything around the inputs."""


def check_json_size(body: bytes | memoryview, max_items: int) -> None:
    """Raise 413 if a body holds more than `max_items` inputs can consist of. Stops reading as soon as it is so."""
    limit = max_items * PER_ITEM + FIXED
    if len(body) <= limit:
        return  # each of them takes a byte
    if isinstance(body, bytes) and sum(_occurrences(body, each, limit) for each in _COUNTED) <= limit:
        return  # what strings contain is counted too, so this says yes only where it is sure
    if next(islice(_THING.finditer(body), limit, None), None) is not None:
        detail = f"The body holds more JSON than {max_items} inputs can be, the most that are accepted. Split it."
        raise ProblemError(413, "too_many_items", detail)


def _occurrences(body: bytes, byte: bytes, limit: int) -> int:
    """How often it occurs, at most one more than `limit`. Where that is rare, `find` is far faster than `count`."""
    found, at = 0, body.find(byte)
    while at >= 0 and found <= limit:
        found, at = found + 1, body.find(byte, at + 1)
    return found
