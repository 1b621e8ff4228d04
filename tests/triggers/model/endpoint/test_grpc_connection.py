"""Channels of gRPC go to addresses that were checked, and to servers whose certificate is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.endpoints.grpc_server import V2Servicer, grpc_endpoint
from tests.endpoints.v2_server import V2Model
from tests.triggers.model.endpoint.test_connection import certificate
from triggers.allow_lists import AllowedHosts
from triggers.errors import EndpointUnavailable, ModelError
from triggers.model.endpoint import EndpointLoader
from triggers.model.endpoint.endpoint_network import EndpointNetwork

ROWS = torch.ones(1, 3, 2, 2)
SUMS = V2Model(lambda x: [x.sum((2, 3))], [("x", "FP32", (-1, 3, 2, 2))], [("o", "FP32", (-1, 3))])


def network(url: str, *hosts: str, authorities: Path | None = None) -> EndpointNetwork:
    """The network of a model there, where these hosts may be asked."""
    stated = {"kind": "endpoint", "protocol": "v2-grpc", "url": url, "encoding": "float", "input": "x", "timeout": 5}
    return EndpointNetwork(EndpointLoader.model_validate(stated), hosts=AllowedHosts(hosts, authorities))


@contextmanager
def named(monkeypatch: pytest.MonkeyPatch, *places: str) -> Iterator[None]:
    """models.example leads to these places."""
    real = socket.getaddrinfo

    def resolve(host: str, port: int, **options: Any) -> Any:
        found = places if host == "models.example" else (host,)
        return [each for place in found for each in real(place, port, **options)]

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", resolve)
        yield


def test_only_a_listed_host_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    servicer = V2Servicer(SUMS)
    with grpc_endpoint(servicer) as address, named(monkeypatch, "127.0.0.1"):
        port = address.partition(":")[2]
        with pytest.raises(ModelError, match="not allowed here"):
            network(f"grpc://{address}/m", f"other.example:{port}")
        inward = network(f"grpc://models.example:{port}/m", f"models.example:{port}")
        with pytest.raises(EndpointUnavailable, match="leads to an address that is not allowed"):
            inward(ROWS)
        assert servicer.calls == []
        private = network(f"grpc://models.example:{port}/m", f"private:models.example:{port}")
        assert private(ROWS).tolist() == [[4.0, 4.0, 4.0]]
        with named(monkeypatch, "127.0.0.1", "169.254.169.254"):
            assert private(ROWS).shape == (1, 3), "the open channel stays with its address"
            private.connection.close()
            with pytest.raises(EndpointUnavailable, match="leads to an address that is not allowed"):
                private(ROWS)


def test_a_server_that_comes_back_is_found_again() -> None:
    with grpc_endpoint(V2Servicer(SUMS)) as address:
        asking = network(f"grpc://{address}/m", address)
        cuts: list[int] = []
        asking.connection.on_cut = lambda: cuts.append(1)  # type: ignore[attr-defined]
        asking(ROWS)
    with pytest.raises(EndpointUnavailable) as refused:
        asking(ROWS)
    assert refused.value.gone and cuts
    with grpc_endpoint(V2Servicer(SUMS), port=int(address.partition(":")[2])):
        assert asking(ROWS).shape == (1, 3)


def test_certificates_are_verified(tmp_path: Path) -> None:
    mine, other = certificate(tmp_path, "localhost"), certificate(tmp_path, "other.example")
    for chain, authorities, accepted in ((mine, mine[0], True), (mine, other[0], False), (other, other[0], False)):
        servicer = V2Servicer(SUMS)
        with grpc_endpoint(servicer, certificate=chain) as address:
            host = f"localhost:{address.partition(':')[2]}"
            asking = network(f"grpcs://{host}/m", host, authorities=authorities)
            if accepted:
                assert asking(ROWS).tolist() == [[4.0, 4.0, 4.0]]
            else:
                with pytest.raises(EndpointUnavailable, match="cannot be reached over gRPC"):
                    asking(ROWS)
                assert servicer.calls == []
