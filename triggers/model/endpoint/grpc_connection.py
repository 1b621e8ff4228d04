"""The connection to an endpoint over gRPC: one channel, whole messages as bytes; from any thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from triggers.errors import ConfigError, EndpointUnavailable, ModelError
from triggers.model.endpoint.connection import credential_header
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.inference_messages import SERVICE

MOST_BYTES = 256 * 2**20
BUSY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED")
"""Codes of a server that may answer later."""


class GrpcConnection:
    """A channel to grpc://HOST:PORT/NAME, or grpcs:// for TLS with the system's roots; no proxies."""

    def __init__(self, loader: EndpointLoader) -> None:
        grpc, parts = require_grpc(), urlsplit(loader.url)
        options = [
            ("grpc.max_send_message_length", MOST_BYTES),
            ("grpc.max_receive_message_length", MOST_BYTES),
            ("grpc.enable_http_proxy", 0),
        ]
        self._loader, self._grpc = loader, grpc
        if parts.scheme == "grpcs":
            self._channel = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.insecure_channel(parts.netloc, options)

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        """One ModelInfer. Raises EndpointUnavailable or ModelError."""
        return self.call("ModelInfer", body), {}

    def call(self, method: str, body: bytes) -> bytes:
        """One call of a method of the service. Raises EndpointUnavailable or ModelError."""
        header = credential_header(self._loader.credentials)
        metadata = [(name.lower(), value) for name, value in header.items()]
        try:
            call = self._channel.unary_unary(f"/{SERVICE}/{method}")
            answer: bytes = call(body, timeout=self._loader.timeout, metadata=metadata)
        except self._grpc.RpcError as error:
            code, said = error.code().name, " ".join(str(error.details()).split())[:300]
            if code in BUSY:
                raise EndpointUnavailable(f"The model at {self._loader.url} answers {code}: {said}", 1) from error
            raise ModelError(f"The model at {self._loader.url} answers {code}: {said}") from error
        return answer

    def close(self) -> None:
        """End the channel."""
        self._channel.close()


def require_grpc() -> Any:
    """The module grpc. Raises ConfigError."""
    try:
        import grpc
    except ModuleNotFoundError as error:
        raise ConfigError("gRPC needs grpcio and protobuf: pip install 'fairtrigger[grpc]'.") from error
    return grpc
