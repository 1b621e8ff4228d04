"""The network of a model behind an address: rows go out, outputs come back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from triggers.allow_lists import AllowedHosts
from triggers.errors import EndpointFailed
from triggers.model.endpoint.connection import Connection, HttpConnection
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.grpc_connection import GrpcConnection
from triggers.model.endpoint.protocols import PROTOCOLS
from triggers.model.endpoint.request_rows import Rows


class EndpointNetwork(nn.Module):
    """Asks an endpoint for the outputs (N, O) of rows. From any thread; no gradients.

    `hosts` may be asked; default: those that the environment lists. With `width` O must be that.
    """

    def __init__(
        self,
        loader: EndpointLoader,
        connection: Connection | None = None,
        hosts: AllowedHosts | None = None,
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.loader, self._protocol, self._width = loader, PROTOCOLS[loader.protocol](loader), width
        self.connection = connection or open_connection(loader, hosts or AllowedHosts.of_environment())
        self.rows_sent = 0

    def forward(self, rows: Rows) -> Tensor:
        """Outputs of rows, `max_batch` at a time. Raises EndpointUnavailable or EndpointFailed."""
        most = self.loader.max_batch
        parts = [rows[start : start + most] for start in range(0, len(rows), most)]
        return torch.cat([self._ask(part) for part in parts])

    def _ask(self, rows: Rows) -> Tensor:
        body, headers = self._protocol.encode(rows)
        answer = self.connection.post(body, headers)
        self.rows_sent += len(rows)
        try:
            outputs = self._protocol.decode(*answer)
        except EndpointFailed:
            raise
        except Exception as error:  # whatever an answer makes its reader raise is the answer's fault
            raise EndpointFailed(str(error) or repr(error)) from error
        expected = (len(rows), outputs.shape[1] if self._width is None else self._width)
        if tuple(outputs.shape) != expected:
            raise EndpointFailed(f"The endpoint answers a table of {tuple(outputs.shape)}, not {expected}.")
        if not bool(outputs.isfinite().all()):
            raise EndpointFailed("The endpoint answers NaN or infinity.")
        return outputs


def open_connection(loader: EndpointLoader, hosts: AllowedHosts) -> HttpConnection | GrpcConnection:
    """The connection that a bundle's protocol takes. Raises ConfigError where its package is missing."""
    return (GrpcConnection if loader.protocol == "v2-grpc" else HttpConnection)(loader, hosts)
