"""Server-side request forgery: nothing but the operator's own list of hosts decides where this service connects to."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.artifacts import artifact_for
from tests.commanded_endpoint import CommandedEndpoint, commanded_endpoint
from tests.service.live import ADMIN, picture, running, settings
from triggers.allow_lists import AllowedHosts
from triggers.errors import EndpointUnavailable, ModelError
from triggers.model import load_bundle
from triggers.model.endpoint_classifier import EndpointClassifier
from triggers.store.file_store import FileStore


@pytest.fixture
def endpoint() -> Iterator[CommandedEndpoint]:
    with commanded_endpoint() as found:
        yield found


def moved(bundle: Path, url: str) -> Path:
    """The bundle with another address in it."""
    spec = json.loads((bundle / "model.json").read_text())
    spec["loader"]["url"] = url
    (bundle / "model.json").write_text(json.dumps(spec))
    return bundle


def loaded(bundle: Path, *hosts: str) -> EndpointClassifier:
    found = load_bundle(bundle, hosts=AllowedHosts(hosts), ask_endpoint=False)
    assert isinstance(found, EndpointClassifier)
    return found


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """A resolver that gives these addresses, one list for each question; returns what was asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: Any, **named: Any) -> Any:
        if host != "models.example":
            return real(host, port, *rest, **named)
        asked.append(host)
        given = answers[min(len(asked), len(answers)) - 1]
        return [found for each in given for found in real(each, port, *rest, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_a_bundle_at_a_host_that_is_not_listed_is_not_loaded(endpoint: CommandedEndpoint, tmp_path: Path) -> None:
    bundle, asked = endpoint.bundle(tmp_path / "faces"), endpoint.requests
    for hosts in ((), ("127.0.0.1",), (f"127.0.0.2:{endpoint.port}",), (f"localhost:{endpoint.port}",)):
        with pytest.raises(ModelError, match="not allowed here"):
            loaded(bundle, *hosts)
    assert endpoint.requests == asked
    loaded(bundle, f"127.0.0.1:{endpoint.port}").verify()


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example:{port}@127.0.0.1:{port}/", "http://127.1:{port}/", "http://0x7f000001:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/", "http://localhost.:{port}/", "http://%31%32%37.0.0.1:{port}/",
        "http://models.example:{port}\\@127.0.0.1:{port}/", "file:///etc/passwd", "ftp://models.example/",
        "http://models.example:{port}#@127.0.0.1/", "http://models.example\n.evil:{port}/",
    ],
)  # fmt: skip
def test_a_bundle_with_an_ambiguous_address_is_not_loaded(
    endpoint: CommandedEndpoint, tmp_path: Path, url: str
) -> None:
    bundle = moved(endpoint.bundle(tmp_path / "faces"), url.format(port=endpoint.port))
    asked = endpoint.requests
    with pytest.raises(ModelError):
        loaded(bundle, f"models.example:{endpoint.port}", "models.example", f"127.0.0.1:{endpoint.port}")
    assert endpoint.requests == asked


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["fe80::1"],
        ["224.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
    ],
)
def test_a_listed_name_that_leads_inward_is_not_connected_to(
    endpoint: CommandedEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    bundle = moved(endpoint.bundle(tmp_path / "faces"), f"http://models.example:{endpoint.port}/")
    before = endpoint.connections
    resolving(monkeypatch, found)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it connected"))
    with pytest.raises(EndpointUnavailable, match="leads to an address that is not allowed") as refused:
        loaded(bundle, f"models.example:{endpoint.port}").verify()
    assert not any(address in str(refused.value) for address in found)
    assert endpoint.connections == before


def test_a_private_entry_says_that_it_may(
    endpoint: CommandedEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = moved(endpoint.bundle(tmp_path / "faces"), f"http://models.example:{endpoint.port}/")
    resolving(monkeypatch, ["127.0.0.1"])
    loaded(bundle, f"private:models.example:{endpoint.port}").verify()
    assert endpoint.headers[-1]["Host"] == f"models.example:{endpoint.port}"


def test_a_name_that_is_bound_anew_after_the_check_changes_nothing(
    endpoint: CommandedEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = moved(endpoint.bundle(tmp_path / "faces"), f"http://models.example:{endpoint.port}/")
    asked = resolving(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    places: list[Any] = []
    real = socket.socket.connect

    def connect(opened: socket.socket, place: Any) -> None:
        places.append(place)
        real(opened, place)

    monkeypatch.setattr(socket.socket, "connect", connect)
    classifier = loaded(bundle, f"private:models.example:{endpoint.port}")
    classifier.verify()
    classifier.verify()
    assert asked == ["models.example"]  # once for each connection: the kept one stays with its address
    assert places == [("127.0.0.1", endpoint.port)]
    classifier.endpoint.connection.close()
    with pytest.raises(EndpointUnavailable, match="leads to an address"):
        classifier.verify()
    assert places == [("127.0.0.1", endpoint.port)]


@pytest.mark.parametrize("status", ["301", "302", "307", "308"])
def test_an_endpoint_that_redirects_is_not_followed(status: str, tmp_path: Path) -> None:
    with commanded_endpoint() as outer, commanded_endpoint() as inner, FileStore(tmp_path / "store") as store:
        classifier = outer.classifier(tmp_path / "faces")
        with running(settings(tmp_path), store, [classifier]) as client:
            outer.mode, outer.retry_after = status, inner.url
            answer = client.post("/v1/models/faces/predict", content=picture(0), headers={"Content-Type": "image/png"})
            assert answer.status_code == 502 and inner.url not in answer.text
            assert inner.connections == 0


def test_nothing_that_a_client_sends_is_part_of_the_address(tmp_path: Path) -> None:
    with commanded_endpoint() as endpoint, commanded_endpoint() as other, FileStore(tmp_path / "store") as store:
        classifier = endpoint.classifier(tmp_path / "faces")
        store.publish(artifact_for(classifier, "border"), actor=other.url)
        with running(settings(tmp_path), store, [classifier]) as client:
            host = other.url.split("/")[2]
            headers = {
                "Content-Type": "image/png", "Host": host, "X-Forwarded-Host": host, "X-Forwarded-For": "127.0.0.1",
                "Forwarded": f"host={host}", "X-Original-URL": other.url, "X-Endpoint": other.url, "Referer": other.url,
                "Origin": other.url, "X-Request-Id": "a-b", "X-Request-Key": other.url,
            }  # fmt: skip
            params = {"url": other.url, "endpoint": other.url, "loader": other.url, "group": other.url}
            for path in ("/v1/models/faces/predict", f"/v1/models/faces/predict/../../../{host}"):
                client.post(path, content=picture(0), headers=ADMIN | headers, params=params)
            body = {"inputs": [{"image": "aGk=", "url": other.url}], "url": other.url}
            for path in ("/v1/models/faces/predict", f"/v1/models/{host}/predict", "/v2/models/faces/infer"):
                client.post(path, json=body, headers=ADMIN)
            client.post("/v1/models/faces/predict", json={"inputs": [{"image": other.url}]}, headers=ADMIN)
            assert client.get("/readyz").status_code == 200
        sent = " ".join(f"{name}: {value}" for each in endpoint.headers for name, value in each.items())
        assert other.connections == 0 and host not in sent
        assert {each["Host"] for each in endpoint.headers} == {f"127.0.0.1:{endpoint.port}"}
