"""Which hosts a request may name and which web sites may send it: what keeps browsers out of a service without keys.

Any page that a visitor opens can make his browser send requests to 127.0.0.1. Two headers give it away, and no page can
set them: `Host` is the page's own name when that was made to lead here (DNS rebinding), and `Sec-Fetch-Site`, or
`Origin` from browsers that do not send it, tells a request of another site. An IP address is nobody's name, so it may
always be asked for; that is how probes and scrapes come.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import Scope

from service.problems import Problem
from service.settings import Settings

ANY = "*"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; no other site can read what they answer."""
OWN_SITE = frozenset({b"same-origin", b"none"})
"""Sec-Fetch-Site of our own pages, and of what a person typed or has bookmarked."""
DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """Refuses what a web site sends through a visitor's browser.

    Hosts are checked without keys, or if `allowed_hosts` names some; sites without keys only, since a browser adds no
    API key to what a page sends.
    """

    def __init__(self, settings: Settings) -> None:
        self._check_sites = settings.keyless
        self._check_hosts = (settings.keyless or bool(settings.allowed_hosts)) and ANY not in settings.allowed_hosts
        self._names = {"localhost", settings.host.lower(), *(name.lower() for name in settings.allowed_hosts)}
        self._known = lru_cache(maxsize=256)(self._find)

    def refusal(self, scope: Scope) -> Problem | None:
        """Why a request may not pass, None if it may."""
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
