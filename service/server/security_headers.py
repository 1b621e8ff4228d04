"""Security headers of every answer: no caching, no content sniffing, no framing, no scripts."""

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
"""The default policy, under which nothing runs. A page that needs more, such as the dashboard, sends its own."""


def with_security_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of an answer and those above; its own Cache-Control and Content-Security-Policy stay."""
    given = list(headers)
    names = {name for name, _ in given}
    if b"cache-control" not in names:
        given.append(NO_STORE)
    if b"content-security-policy" not in names:
        given.append(DATA_POLICY)
    given.extend(ALWAYS)
    return given
