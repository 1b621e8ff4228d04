"""The list of hosts: which entry is an address's, and which IP addresses its name may lead to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from triggers.allow_lists import AllowedHosts, HostEntry
from triggers.errors import ModelError

PUBLIC = ("93.184.216.34", "2606:2800:220:1::1")
INWARD = (
    "127.0.0.1", "127.8.8.8", "10.0.0.5", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1", "fec0::1",
    "::ffff:10.0.0.5", "64:ff9b::7f00:1", "2002:7f00:1::", "192.0.2.1", "240.0.0.1",
)  # fmt: skip
NEVER = (
    "169.254.169.254",
    "fe80::1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
)


def leads(entry: str, address: str) -> bool:
    return HostEntry.of_text(entry).leads_to(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_name_may_lead_to_public_addresses(address: str) -> None:
    assert leads("models.example", address) and leads("private:models.example", address)


@pytest.mark.parametrize("address", INWARD)
def test_a_name_leads_inward_only_if_its_entry_says_so(address: str) -> None:
    assert not leads("models.example", address)
    assert leads("private:models.example", address)


@pytest.mark.parametrize("address", NEVER)
def test_no_name_leads_to_link_local_multicast_or_unspecified_addresses(address: str) -> None:
    assert not leads("models.example", address) and not leads("private:models.example", address)
    assert not leads("localhost", address)


def test_an_address_that_is_listed_itself_is_meant() -> None:
    assert leads("10.0.0.5:8080", "10.0.0.5") and leads("169.254.1.1", "169.254.1.1") and leads("[::1]:80", "::1")
    assert not leads("10.0.0.5", "10.0.0.6") and not leads("0.0.0.0", "0.0.0.0")
    assert leads("localhost", "127.0.0.1") and leads("localhost:80", "::1") and not leads("localhost", "10.0.0.5")


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("models.example", "http://models.example/x"),
        ("models.example", "https://models.example/x"),
        ("Models.Example:8080", "http://models.example:8080/x"),
        ("private:models.svc:8080", "http://models.svc:8080/"),
        ("private:models.svc", "http://models.svc/"),
        ("private:8080", "http://private:8080/"),
        ("[::1]:8080", "http://[::1]:8080/"),
        ("https.example:443", "https://https.example/"),
    ],
)
def test_an_entry_names_its_host_at_its_port(entry: str, url: str) -> None:
    AllowedHosts(("other.example", entry)).check(url)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("models.example", "http://models.example:8080/"),
        ("models.example", "http://models.example:443/"),
        ("models.example", "http://evil.models.example/"),
        ("models.example", "http://models.example.evil/"),
        ("models.example:8080", "http://models.example/"),
        ("models.example", "http://models.example@evil/"),
        ("127.0.0.1", "http://127.1/"),
        ("127.0.0.1", "http://localhost/"),
        ("all", "http://models.example/"),
        ("*", "http://models.example/"),
    ],
)
def test_nothing_else_is_allowed(entry: str, url: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be asked|not allowed here"):
        AllowedHosts((entry,)).check(url)


def test_the_refusal_says_what_to_give() -> None:
    with pytest.raises(ModelError, match=r"--endpoint-hosts models\.example:443 "):
        AllowedHosts().check("https://models.example/x")


def test_the_environment_lists_hosts_and_authorities() -> None:
    told = {"FAIRTRIGGER_ENDPOINT_HOSTS": "a.example, private:b.svc:80,", "FAIRTRIGGER_ENDPOINT_CA": "/ca.pem"}
    found = AllowedHosts.of_environment(told)
    assert found.hosts == ("a.example", "private:b.svc:80") and str(found.authorities) == "/ca.pem"
    assert AllowedHosts.of_environment({}) == AllowedHosts()
