"""What an endpoint of the Open Inference Protocol V2 says of its model: names, datatypes and shapes of its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from triggers.allow_lists import AllowedHosts
from triggers.errors import EndpointFailed, ModelError
from triggers.model.endpoint.connection import HttpConnection
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.grpc_connection import GrpcConnection
from triggers.model.endpoint.inference_messages import inference_message, parse_message
from triggers.model.endpoint.protocols import grpc_model
from triggers.sources.source import WrapOptions

IMAGE_TYPES = {
    "UINT8": "pixels",
    "INT32": "pixels",
    "INT64": "pixels",
    "FP16": "float",
    "FP32": "float",
    "FP64": "float",
}
NEEDS_CREDENTIALS = (401, 403)
USUAL_TYPES = {"pixels": "UINT8", "float": "FP32"}


class TensorDescription(BaseModel):
    """One tensor; sides of -1 are any."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class V2Metadata(BaseModel):
    """The inputs and outputs of a model; empty where the server does not know them."""

    inputs: tuple[TensorDescription, ...] = ()
    outputs: tuple[TensorDescription, ...] = ()


@dataclass(frozen=True)
class SeenTensors:
    """Fields of a loader that follow from metadata, where each was taken from, and sides (C, H, W) of pictures."""

    fields: Mapping[str, Any]
    origin: Mapping[str, str]
    sides: tuple[int | None, int | None, int | None] = (None, None, None)


def ask_metadata(loader: EndpointLoader, hosts: AllowedHosts) -> V2Metadata | None:
    """What the server says; None if it says nothing. Raises EndpointUnavailable, EndpointFailed or ConfigError."""
    return (_over_grpc if loader.protocol == "v2-grpc" else _over_http)(loader, hosts)


def _over_http(loader: EndpointLoader, hosts: AllowedHosts) -> V2Metadata | None:
    connection = HttpConnection(loader.model_copy(update={"url": loader.url.removesuffix("/infer")}), hosts)
    try:
        return V2Metadata.model_validate(json.loads(connection.get()))
    except EndpointFailed as error:
        if error.status in NEEDS_CREDENTIALS:
            raise
        return None
    except (ValueError, ValidationError):
        return None


def _over_grpc(loader: EndpointLoader, hosts: AllowedHosts) -> V2Metadata | None:
    connection, (name, version) = GrpcConnection(loader, hosts), grpc_model(loader.url)
    try:
        request = inference_message("ModelMetadataRequest")(name=name, version=version)
        answer = parse_message("ModelMetadataResponse", connection.call("ModelMetadata", request.SerializeToString()))
    except EndpointFailed as error:
        if error.status in NEEDS_CREDENTIALS:
            raise
        return None
    inputs, outputs = (
        tuple(TensorDescription(name=each.name, datatype=each.datatype, shape=tuple(each.shape)) for each in part)
        for part in (answer.inputs, answer.outputs)
    )
    return V2Metadata(inputs=inputs, outputs=outputs)


def seen_tensors(metadata: V2Metadata, stated: Mapping[str, Any], options: WrapOptions) -> SeenTensors:
    """What need not be stated: input and output, encoding, datatype, layout. Raises ModelError for what contradicts."""
    fields: dict[str, Any] = {}
    origin: dict[str, str] = {}
    sides: tuple[int | None, int | None, int | None] = (None, None, None)
    if metadata.inputs:
        chosen = _one("input", metadata.inputs, stated.get("input"))
        said, sides = _input_fields(chosen, stated, text=options.image is None)
        fields |= said
        origin["input"] = f"{chosen.name!r}, {chosen.datatype} {list(chosen.shape)}, as the endpoint's metadata says"
    if metadata.outputs:
        chosen = _one("output", metadata.outputs, stated.get("output", options.output))
        fields["output"] = chosen.name
        if chosen.datatype == "BYTES":
            fields["scores"] = "labels"
        origin["output"] = f"{chosen.name!r}, {chosen.datatype} {list(chosen.shape)}, as the endpoint's metadata says"
    return SeenTensors(fields, origin, sides)


def _one(kind: str, known: Sequence[TensorDescription], name: object) -> TensorDescription:
    names = ", ".join(each.name for each in known)
    if name is None and len(known) == 1:
        return known[0]
    if name is None and kind == "output":
        raise ModelError(f"The endpoint has outputs {names}: choose one with --output.")
    if name is None:
        raise ModelError(
            f'The endpoint takes inputs {names}: if one is enough, name it, --endpoint \'{{"input": "NAME"}}\'.'
        )
    found = [each for each in known if each.name == name]
    if not found:
        raise ModelError(f"The endpoint has no {kind} {name!r}: its metadata names {names}.")
    return found[0]


def _input_fields(
    tensor: TensorDescription, stated: Mapping[str, Any], *, text: bool
) -> tuple[dict[str, Any], tuple[int | None, int | None, int | None]]:
    fields: dict[str, Any] = {"input": tensor.name}
    if tensor.datatype == "BYTES":
        encoding = stated.get("encoding", "text" if text else "png")
        if encoding in USUAL_TYPES:
            raise ModelError(f"The endpoint's input {tensor.name!r} is of BYTES: encoding must be png, jpeg or text.")
        if len(tensor.shape) == 2:
            fields["item_shape"] = (1,)
        return fields | {"encoding": encoding}, (None, None, None)
    if tensor.datatype not in IMAGE_TYPES:
        raise ModelError(
            f"The endpoint's input {tensor.name!r} is of {tensor.datatype}, which nothing here travels as."
        )
    encoding = stated.get("encoding", IMAGE_TYPES[tensor.datatype])
    if encoding not in USUAL_TYPES:
        raise ModelError(f"The endpoint's input {tensor.name!r} is of {tensor.datatype}, no BYTES for {encoding}.")
    fields["encoding"] = encoding
    if tensor.datatype != USUAL_TYPES[encoding]:
        fields["datatype"] = tensor.datatype
    if len(tensor.shape) != 4:
        return fields, (None, None, None)
    first, last = tensor.shape[1] in (1, 3), tensor.shape[3] in (1, 3)
    if first == last:
        return fields, (None, None, None)
    fields["layout"] = "NCHW" if first else "NHWC"
    order = (1, 2, 3) if first else (3, 1, 2)
    channels, height, width = (tensor.shape[at] if tensor.shape[at] > 0 else None for at in order)
    return fields, (channels, height, width)
