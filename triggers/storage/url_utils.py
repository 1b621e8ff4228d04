"""Helpers for URLs of stores: hide the password, and take out a parameter of our own."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def without_password(url: str) -> str:
    """A URL without user, password and query; any other text is returned unchanged."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")) if parts.netloc else url


def without_parameter(url: str, name: str) -> tuple[str, str | None]:
    """A URL without one parameter of its query, and that parameter's value, if it has one."""
    address, _, query = url.partition("?")  # urlunsplit would turn unix:///path into unix:/path
    pairs = parse_qsl(query, keep_blank_values=True)
    rest = urlencode([pair for pair in pairs if pair[0] != name])
    return f"{address}?{rest}" if rest else address, dict(pairs).get(name)
