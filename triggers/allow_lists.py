"""What the operator allows bundles to do: modules whose code builds a network, hosts where a model may be asked.

Both lists are empty unless the operator fills them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

from triggers.endpoint_address import PORTS, EndpointAddress, host_and_port
from triggers.errors import ModelError

FACTORIES_VARIABLE = "FAIRTRIGGER_ALLOW_FACTORIES"
HOSTS_VARIABLE = "FAIRTRIGGER_ENDPOINT_HOSTS"
AUTHORITIES_VARIABLE = "FAIRTRIGGER_ENDPOINT_CA"
ALL = "all"
PRIVATE = "private:"
_TRANSLATED = IPv6Network("64:ff9b::/96")


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
class HostEntry:
    """One host of the list, at one port or (None) at its scheme's own; `private`: its name may lead into a network."""

    host: str
    port: int | None
    private: bool = False

    @classmethod
    def of_text(cls, text: str) -> HostEntry:
        """An entry: `models.example`, `10.0.0.5:8080`, `[::1]:80`, `private:models.svc:80`. Raises ValueError."""
        text = text.strip().lower()
        try:
            return cls(*host_and_port(text))
        except ValueError:
            if not text.startswith(PRIVATE):
                raise
        return cls(*host_and_port(text.removeprefix(PRIVATE)), private=True)

    def names(self, address: EndpointAddress) -> bool:
        """Whether this is the entry of an address."""
        return address.host == self.host and address.port in (self.port or PORTS[address.scheme],)

    def leads_to(self, found: IPv4Address | IPv6Address) -> bool:
        """Whether its connections may go to an IP address: one that is listed itself, or a public one.

        A private entry also leads into private networks, `localhost` to this machine; none to a link-local address,
        where clouds keep their credentials.
        """
        if found.is_multicast or found.is_unspecified:
            return False
        if self.host == str(found):
            return True
        if self.host == "localhost":
            return found.is_loopback
        if isinstance(found, IPv6Address) and (inner := _embedded(found)):
            return self.leads_to(inner)
        if found.is_link_local:
            return False
        public = found.is_global and not (isinstance(found, IPv6Address) and found.is_site_local)
        return public or self.private


@dataclass(frozen=True)
class AllowedHosts:
    """Hosts where endpoints may be asked (see HostEntry), and the file of authorities that vouch for them.

    Without the file it is those that this machine trusts.
    """

    hosts: tuple[str, ...] = ()
    authorities: Path | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> AllowedHosts:
        """Those that FAIRTRIGGER_ENDPOINT_HOSTS lists, separated by commas; FAIRTRIGGER_ENDPOINT_CA is the file."""
        listed = tuple(filter(None, (each.strip() for each in environment.get(HOSTS_VARIABLE, "").split(","))))
        return cls(listed, _file(environment))

    @classmethod
    def of_url(cls, url: str, environment: Mapping[str, str] = os.environ) -> AllowedHosts:
        """The host that somebody named himself, in a plain URL, wherever it leads."""
        address = EndpointAddress.of_url(url)
        host = f"[{address.host}]" if ":" in address.host else address.host
        return cls((f"{PRIVATE}{host}:{address.port}",), _file(environment))

    def check(self, url: str) -> HostEntry:
        """The entry of a URL's host. Raises ModelError unless it is listed."""
        try:
            address, entries = EndpointAddress.of_url(url), [HostEntry.of_text(each) for each in self.hosts]
        except ValueError as error:
            raise ModelError(f"The bundle's model cannot be asked: {error}.") from error
        for entry in entries:
            if entry.names(address):
                return entry
        host = f"[{address.host}]" if ":" in address.host else address.host
        raise ModelError(
            f"The bundle's model is asked at {host}:{address.port}, which is not allowed here: if you trust it, give "
            f"--endpoint-hosts {host}:{address.port} (or set {HOSTS_VARIABLE}={host}:{address.port})."
        )


def _embedded(found: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets for an IPv6 address may be sent to."""
    if found.ipv4_mapped or found.sixtofour:
        return found.ipv4_mapped or found.sixtofour
    if found.teredo:
        return found.teredo[1]
    return IPv4Address(int(found) & 0xFFFFFFFF) if found in _TRANSLATED else None


def _file(environment: Mapping[str, str]) -> Path | None:
    return Path(environment[AUTHORITIES_VARIABLE]) if environment.get(AUTHORITIES_VARIABLE) else None
