"""The network of a model behind an address: rows go out, outputs come back."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn

from triggers.errors import ModelError
from triggers.model.endpoint.connection import Connection, HttpConnection
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.grpc_connection import GrpcConnection
from triggers.model.endpoint.protocols import PROTOCOLS
from triggers.model.endpoint.request_rows import Rows


class EndpointNetwork(nn.Module):
    """Asks an endpoint for the outputs (N, O) of rows. From any thread; no gradients."""

    def __init__(self, loader: EndpointLoader, connection: Connection | None = None) -> None:
        super().__init__()
        self.loader, self._protocol = loader, PROTOCOLS[loader.protocol](loader)
        self._connection = connection or open_connection(loader)
        self.close = weakref.finalize(self, self._connection.close)  # ends the connection, now or when unreachable
        self.rows_sent = 0

    def forward(self, rows: Rows) -> Tensor:
        """Outputs of rows, `max_batch` at a time. Raises EndpointUnavailable or ModelError."""
        most = self.loader.max_batch
        parts = [rows[start : start + most] for start in range(0, len(rows), most)]
        return torch.cat([self._ask(part) for part in parts])

    def _ask(self, rows: Rows) -> Tensor:
        body, headers = self._protocol.encode(rows)
        outputs = self._protocol.decode(*self._connection.post(body, headers))
        self.rows_sent += len(rows)
        if len(outputs) != len(rows):
            raise ModelError(f"The endpoint answers {len(outputs)} rows to {len(rows)}.")
        return outputs


def open_connection(loader: EndpointLoader) -> Connection:
    """The connection that a bundle's protocol takes. Raises ConfigError where its package is missing."""
    return GrpcConnection(loader) if loader.protocol == "v2-grpc" else HttpConnection(loader)
