"""What every answer tells a browser: keep nothing, guess nothing, frame nothing, run nothing."""

from __future__ import annotations

from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]

NO_STORE = (b"cache-control", b"no-store")
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
DATA_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""Of all that runs nothing. A page that needs more, such as a dashboard, sends a policy of its own."""


def guarded_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of an answer and those above; what it says itself about caching or content stays."""
    given = list(headers)
    names = {name for name, _ in given}
    if b"cache-control" not in names:
        given.append(NO_STORE)
    if b"content-security-policy" not in names:
        given.append(DATA_POLICY)
    given.extend(ALWAYS)
    return given
