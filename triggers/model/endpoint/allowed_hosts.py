"""The allow-list of hosts that a bundle may ask: empty, unless the operator lists some."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from triggers.errors import ModelError

HOSTS_VARIABLE = "FAIRTRIGGER_ENDPOINT_HOSTS"


@dataclass(frozen=True)
class AllowedHosts:
    """Hosts, each as `name` (its scheme's own port) or `name:port`."""

    hosts: tuple[str, ...] = ()

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> AllowedHosts:
        """Those that FAIRTRIGGER_ENDPOINT_HOSTS lists, separated by commas."""
        return cls(tuple(filter(None, (each.strip() for each in environment.get(HOSTS_VARIABLE, "").split(",")))))

    @classmethod
    def of_url(cls, url: str) -> AllowedHosts:
        """The host that somebody named himself, in a URL."""
        parts = urlsplit(url)
        return cls((f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname),))

    def check(self, url: str) -> None:
        """Raise ModelError unless the host of a URL is listed."""
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        named = {f"{parts.hostname}:{port}"} | ({str(parts.hostname)} if parts.port in (None, 80, 443) else set())
        if not named & {host.lower() for host in self.hosts}:
            host = f"{parts.hostname}:{port}"
            raise ModelError(
                f"The bundle's model is asked at {host}, which is not allowed here: if you trust it, give "
                f"--endpoint-hosts {host} (or set {HOSTS_VARIABLE}={host})."
            )
