"""Addresses of endpoints: what is plain, and what programs read in different ways."""

from __future__ import annotations

import pytest

from triggers.endpoint_address import EndpointAddress, host_and_port


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "netloc"),
    [
        ("http://models.example", "models.example", 80, "/", "models.example"),
        (
            "https://models.example/v2/models/a/infer?k=1",
            "models.example",
            443,
            "/v2/models/a/infer?k=1",
            "models.example",
        ),
        ("http://Models.Example:8080/x", "models.example", 8080, "/x", "models.example:8080"),
        ("http://127.0.0.1:9/x", "127.0.0.1", 9, "/x", "127.0.0.1:9"),
        ("http://[::1]:8080/x", "::1", 8080, "/x", "[::1]:8080"),
        ("https://xn--bcher-kva.example/%41", "xn--bcher-kva.example", 443, "/%41", "xn--bcher-kva.example"),
        ("http://model_server:80/", "model_server", 80, "/", "model_server"),
    ],
)
def test_a_plain_address(url: str, host: str, port: int, target: str, netloc: str) -> None:
    found = EndpointAddress.of_url(url)
    assert (found.host, found.port, found.target, found.netloc) == (host, port, target, netloc)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://models.example/", "file:///etc/passwd", "gopher://models.example", "models.example", "//models.example",
        "http://", "http:///x", "http://user@models.example/", "http://user:word@models.example/",
        "http://@models.example/", "http://models.example@169.254.169.254/", "http://models.example:80@evil.example/",
        "http://models.example#@evil.example/", "http://models.example/#part", "http://models.example/x#",
        "http://models.example\\@evil.example/", "http://models.example\t.evil.example/", "http://models.example/ x",
        "http://models.example\r\nX: y/", "http://mod\u00e9ls.example/", "http://\uff11\uff12\uff17.0.0.1/", "http://models.example\u3002evil/",
        "http://models%2eexample/", "http://127.0.0.1%2f@evil.example/", "http://%6c%6fcalhost/",
        "http://models.example:0/", "http://models.example:65536/", "http://models.example:-1/", "http://models.example:/",
        "http://models.example:080/", "http://models.example:8a/", "http://models.example:80:80/",
        "http://models.example./", "http://.models.example/", "http://models..example/", "http://-models.example/",
        "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/",
        "http://127.0.0.01/", "http://127.0.0.1./", "http://256.0.0.1/", "http://models.1/", "http://1.2.3.4.5/",
        "http://[::ffff:127.0.0.1]/", "http://[0:0:0:0:0:0:0:1]/", "http://[::0001]/", "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/", "http://[::1/", "http://::1/", "http://[::1]x/", "http://[127.0.0.1]/",
    ],
)  # fmt: skip
def test_an_address_that_could_be_read_in_another_way_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        EndpointAddress.of_url(url)


def test_a_host_has_a_port_or_none() -> None:
    assert host_and_port("models.example") == ("models.example", None)
    assert host_and_port("[::1]:80") == ("::1", 80)
