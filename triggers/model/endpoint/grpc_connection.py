"""The connection to an endpoint over gRPC: one channel to addresses that were checked, whole messages as bytes."""

from __future__ import annotations

import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from triggers.allow_lists import AllowedHosts
from triggers.endpoint_address import EndpointAddress
from triggers.errors import ConfigError, EndpointFailed, EndpointUnavailable
from triggers.model.endpoint.connection import MAX_ANSWER_BYTES, Secret, checked_places
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.inference_messages import SERVICE

_GONE = ("UNAVAILABLE",)
_STATUS = {"INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404}
"""Of HTTP; those of other codes are 500."""
_BUSY = ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED")


class GrpcConnection:
    """A channel to grpc://HOST:PORT/NAME, or grpcs:// for TLS, to a host that is allowed; from any thread.

    The name is resolved for each new channel, which a server that was gone gets. No proxy is used. `on_cut` is called
    when the server was gone: it may have been started anew.
    """

    def __init__(self, loader: EndpointLoader, hosts: AllowedHosts) -> None:
        self._loader, self._hosts, self._entry = loader, hosts, hosts.check(loader.url)
        self._address = EndpointAddress.of_url(loader.url)
        self._secret = Secret(loader.credentials) if loader.credentials else None
        self._grpc, self._lock = require_grpc(), threading.Lock()
        self._channels: list[Any] = []
        weakref.finalize(self, _close_channels, self._channels)
        self.on_cut: Callable[[], None] = lambda: None

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        """One ModelInfer, within the loader's `timeout`. Raises EndpointUnavailable, EndpointFailed or ConfigError."""
        return self.call("ModelInfer", body), {}

    def call(self, method: str, body: bytes) -> bytes:
        """One call of a method of the service. Raises EndpointUnavailable, EndpointFailed or ConfigError."""
        header = self._secret.header() if self._secret else {}
        metadata = [(name.lower(), value) for name, value in header.items()]
        channel = self._channel()
        try:
            answer: bytes = channel.unary_unary(f"/{SERVICE}/{method}")(
                body, timeout=self._loader.timeout, metadata=metadata
            )
        except self._grpc.RpcError as error:
            code, said = error.code().name, " ".join(str(error.details()).split())[:300]
            if code in _GONE:
                self.close()
                self.on_cut()
                raise EndpointUnavailable("The model's endpoint cannot be reached over gRPC.", gone=True) from error
            if code in _BUSY:
                raise EndpointUnavailable(f"The model's endpoint answers {code}.", 1) from error
            raise EndpointFailed(f"The endpoint answers {code}: {said}", _STATUS.get(code, 500)) from error
        return answer

    def close(self) -> None:
        """End the channel; the next call opens another."""
        with self._lock:
            _close_channels(self._channels)

    def _channel(self) -> Any:
        with self._lock:
            if not self._channels:
                self._channels.append(self._opened())
            return self._channels[0]

    def _opened(self) -> Any:
        try:
            places = checked_places(self._address, self._entry)
        except OSError as error:
            raise EndpointUnavailable("The model's endpoint cannot be reached: no such name.", gone=True) from error
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
            ("grpc.enable_http_proxy", 0),
            ("grpc.default_authority", self._address.netloc),
        ]
        if self._address.scheme == "grpc":
            return self._grpc.insecure_channel(_target(places), options)
        trusted = self._grpc.ssl_channel_credentials(_authorities(self._hosts))
        return self._grpc.secure_channel(
            _target(places), trusted, [*options, ("grpc.ssl_target_name_override", self._address.host)]
        )


def require_grpc() -> Any:
    """The module grpc. Raises ConfigError."""
    try:
        import grpc
    except ModuleNotFoundError as error:
        raise ConfigError("gRPC needs grpcio and protobuf: pip install 'fairtrigger[grpc]'.") from error
    return grpc


def _target(places: list[tuple[int, Any]]) -> str:
    """All addresses of one family, as gRPC is told not to resolve anything."""
    family = places[0][0]
    same = [place for each, place in places if each == family]
    if family == socket.AF_INET6:
        return "ipv6:" + ",".join(f"[{place[0]}]:{place[1]}" for place in same)
    return "ipv4:" + ",".join(f"{place[0]}:{place[1]}" for place in same)


def _authorities(hosts: AllowedHosts) -> bytes | None:
    """Roots that vouch for the server; where this machine has no file of them, gRPC's own."""
    file = hosts.authorities or ssl.get_default_verify_paths().cafile
    try:
        return Path(file).read_bytes() if file else None
    except OSError as error:
        raise ConfigError(f"The authorities in {file} cannot be read: {error}.") from error


def _close_channels(channels: list[Any]) -> None:
    while channels:
        channels.pop().close()
