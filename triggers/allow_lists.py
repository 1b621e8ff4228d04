"""What the operator allows bundles to do: modules whose code builds a network, hosts where a model may be asked.

Both lists are empty unless the operator fills them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from triggers.errors import ModelError

FACTORIES_VARIABLE = "FAIRTRIGGER_ALLOW_FACTORIES"
HOSTS_VARIABLE = "FAIRTRIGGER_ENDPOINT_HOSTS"
ALL = "all"


@dataclass(frozen=True)
class Factories:
    """Modules, each with those inside it, whose functions a bundle may name; `all` stands for any module."""

    modules: tuple[str, ...] = ()

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Factories:
        """Those that FAIRTRIGGER_ALLOW_FACTORIES lists, separated by commas."""
        return cls(tuple(filter(None, (each.strip() for each in environment.get(FACTORIES_VARIABLE, "").split(",")))))

    def check(self, target: str) -> None:
        """Raise ModelError unless the module of `target` (`module:function`) is listed."""
        module = target.partition(":")[0]
        if not any(each in (ALL, module) or module.startswith(f"{each}.") for each in self.modules):
            raise ModelError(
                f"The bundle's factory {target!r} would run code of module {module}, which is not allowed here: "
                f"if you trust it, give --allow-factories {module} (or set {FACTORIES_VARIABLE}={module})."
            )


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
