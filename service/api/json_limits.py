"""A limit on the tokens of a JSON body, checked before a parser or a validator handles millions of values."""

from __future__ import annotations

import re
from itertools import islice

from service.errors import ProblemError

_COUNTED = (b'"', b",", b"{", b"[")
_THING = re.compile(rb'"(?:[^"\\]++|(?:\\.)++)*+"?|[,{\[]', re.DOTALL)
"""A whole string (an unterminated one goes to the end, so that no byte is read twice), or a token before a value."""
PER_ITEM = 24
"""Tokens (strings, commas and brackets) of one input that uses every field, rounded up."""
FIXED = 200
"""Tokens of everything around the inputs."""


def check_json_size(body: bytes | memoryview, max_items: int) -> None:
    """Raise ProblemError (413) if a body has more tokens than `max_items` inputs can have. Stops at the limit."""
    limit = max_items * PER_ITEM + FIXED
    if len(body) <= limit:
        return  # each token takes a byte
    if isinstance(body, bytes) and sum(_occurrences(body, each, limit) for each in _COUNTED) <= limit:
        return  # counts within strings too, so it never accepts too much
    if next(islice(_THING.finditer(body), limit, None), None) is not None:
        detail = f"The body holds more JSON than {max_items} inputs can be, the most that are accepted. Split it."
        raise ProblemError(413, "too_many_items", detail)


def _occurrences(body: bytes, byte: bytes, limit: int) -> int:
    """Occurrences of a byte, at most `limit` + 1. Where it is rare, `find` is far faster than `count`."""
    found, at = 0, body.find(byte)
    while at >= 0 and found <= limit:
        found, at = found + 1, body.find(byte, at + 1)
    return found
