"""Protocols of endpoints: the Open Inference Protocol V2 over HTTP and gRPC, and any JSON by a mapping."""

from collections.abc import Callable, Mapping

from triggers.model.endpoint.endpoint_loader import EndpointLoader, ProtocolName
from triggers.model.endpoint.protocols.endpoint_protocol import EndpointProtocol
from triggers.model.endpoint.protocols.json_mapping import JsonProtocol
from triggers.model.endpoint.protocols.score_table import UnnamedColumns
from triggers.model.endpoint.protocols.v2_grpc import V2GrpcProtocol, grpc_model
from triggers.model.endpoint.protocols.v2_http import V2Protocol

__all__ = ["PROTOCOLS", "EndpointProtocol", "UnnamedColumns", "grpc_model"]

PROTOCOLS: Mapping[ProtocolName, Callable[[EndpointLoader], EndpointProtocol]] = {
    "v2": V2Protocol,
    "v2-grpc": V2GrpcProtocol,
    "json": JsonProtocol,
}
"""By the name in a bundle's section `loader`."""
