"""Addresses of endpoints: URLs that can be read in one way only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}
"""Schemes, and their own ports."""
_PRINTABLE = re.compile(r"[!-\[\]-~]+")  # ASCII without blanks and backslashes, which programs read differently
_PLACE = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[1-9][0-9]{0,4}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True)
class EndpointAddress:
    """Where an endpoint is asked; `host` is a name, or an IP address without brackets, `target` path and query."""

    scheme: str
    host: str
    port: int
    target: str = "/"

    @classmethod
    def of_url(cls, url: str) -> EndpointAddress:
        """The address in a URL. Raises ValueError, without the URL, unless it is plain."""
        if not _PRINTABLE.fullmatch(url):
            raise ValueError("the address has blanks, backslashes or letters that are no ASCII")
        parts = urlsplit(url)
        if parts.scheme not in PORTS or parts.fragment or url.endswith("#"):
            raise ValueError(f"the address is no plain {':// or '.join(PORTS)}:// address")
        host, port = host_and_port(parts.netloc.lower())
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, PORTS[parts.scheme] if port is None else port, target)

    @property
    def netloc(self) -> str:
        """Host and, unless it is the scheme's own, port, as a request says them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def host_and_port(text: str) -> tuple[str, int | None]:
    """A host and its port, if there is one: `name:80`, `127.0.0.1`, `[::1]:80`. Raises ValueError.

    No user, no percent signs, no dot at the end, and of an IP address only the one usual spelling: `127.1`, `0x7f.1`
    and `[::ffff:127.0.0.1]` are refused.
    """
    found = _PLACE.fullmatch(text)
    if not found or int(found["port"] or 1) > 65535:
        raise ValueError(f"{text!r} is no plain host, with or without a port")
    host = found["host"]
    if host.startswith("["):
        address = IPv6Address(host[1:-1])
        if host[1:-1] != str(address) or address.ipv4_mapped:
            raise ValueError(f"{text!r} is not the usual spelling of an IPv6 address")
        host = str(address)
    elif _NUMBER.fullmatch(host.rpartition(".")[2]):
        IPv4Address(host)
    elif not _NAME.fullmatch(host):
        raise ValueError(f"{text!r} is no plain host name")
    return host, int(found["port"]) if found["port"] else None
