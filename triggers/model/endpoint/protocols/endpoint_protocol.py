"""The interface of a protocol: rows to the body of a request, the body of a response to a table of outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from triggers.model.endpoint.request_rows import Rows


class EndpointProtocol(Protocol):
    """How rows travel to an endpoint, and its outputs back. From any thread."""

    def encode(self, rows: Rows) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers of a request."""
        ...

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Tensor:
        """Outputs (N, O) float32 in a response. Raises ModelError."""
        ...
