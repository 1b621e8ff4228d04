"""Checks of Host and Origin headers, which keep other web sites' pages out of a service without keys.

Any page that a visitor opens can make the browser send requests to 127.0.0.1. Two headers, which no page can set,
reveal it: `Host` is the page's own name under DNS rebinding, and `Sec-Fetch-Site`, or `Origin` from browsers without
it, marks a request of another site. An IP address as `Host` is always allowed, since rebinding needs a name: probes and
scrapes use it.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import Scope

from service.api.problem_details import Problem
from service.config import Settings

ANY = "*"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; no other site can read what they answer."""
OWN_SITE = frozenset({b"same-origin", b"none"})
"""Sec-Fetch-Site of the service's own pages, and of typed or bookmarked addresses."""
DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """Refuses requests that a web site sends through a visitor's browser.

    Hosts are checked if there are no keys, or if `allowed_hosts` names some; sites only if there are no keys, since a
    browser adds no API key to a page's requests.
    """

    def __init__(self, settings: Settings) -> None:
        self._check_sites = settings.keyless
        self._check_hosts = (settings.keyless or bool(settings.allowed_hosts)) and ANY not in settings.allowed_hosts
        self._names = {"localhost", settings.host.lower(), *(name.lower() for name in settings.allowed_hosts)}
        self._known = lru_cache(maxsize=256)(self._find)

    def refusal(self, scope: Scope) -> Problem | None:
        """The problem of a request that is refused, else None."""
        if not (self._check_hosts or self._check_sites):
            return None
        hosts, origin, site = [], None, None
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
        if self._check_hosts and (strange := [host for host in hosts if not self._known(host)]):
            return _unknown_host(strange[0])
        if self._check_sites and scope["method"] not in SAFE and _foreign(site, origin, hosts):
            detail = (
                "Another web site sent this request through a browser; without API keys only the service's own may."
            )
            return Problem(403, "cross_site_request", detail)
        return None

    def _find(self, host: bytes) -> bool:
        name = _split(f"//{host.decode('latin-1')}")[0]
        return name in self._names or _is_address(name)


def _foreign(site: bytes | None, origin: bytes | None, hosts: list[bytes]) -> bool:
    """Whether a page of another origin sent it; without either header it was no browser."""
    if site is not None:
        return site not in OWN_SITE
    if origin is None:
        return False
    text = origin.decode("latin-1")
    scheme = text.partition("://")[0].lower()
    own = [_split(f"{scheme}://{host.decode('latin-1')}") for host in hosts]
    return _split(text) not in own


def _split(url: str) -> tuple[str, int | None]:
    """Host, in lower case and without a last dot, and port; ("", None) for what is no URL, such as `null`."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return "", None
    return (parts.hostname or "").removesuffix("."), port


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _unknown_host(host: bytes) -> Problem:
    name = host.decode("latin-1")[:100]
    detail = f"This service is not known as {name!r}: ask for its address, or name the host in its allowed_hosts."
    return Problem(421, "unknown_host", detail)
