"""Messages of the Open Inference Protocol V2 over gRPC as the bodies of its HTTP form with binary tensors, and back."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from triggers.errors import InputError
from triggers.model.endpoint.inference_messages import inference_message

_LENGTH = struct.Struct("<I")
_FIELDS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}


def infer_request_body(message: Any) -> tuple[bytes, int]:
    """A ModelInferRequest as a body, and the length of its JSON. Raises InputError("malformed_tensor")."""
    raw, parts = message.raw_input_contents, list[bytes]()
    if raw and (len(raw) != len(message.inputs) or any(each.HasField("contents") for each in message.inputs)):
        detail = "Give the elements of all inputs in raw_input_contents, one for each, or of all in their contents."
        raise InputError("malformed_tensor", detail)
    inputs = []
    for at, tensor in enumerate(message.inputs):
        parts.append(raw[at] if raw else _joined(tensor.contents.bytes_contents))
        parameters = {**_parameters(tensor.parameters), "binary_data_size": len(parts[-1])}
        said = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        inputs.append({**said, "parameters": parameters})
    head: dict[str, Any] = {
        "parameters": {**_parameters(message.parameters), "binary_data_output": True},
        "inputs": inputs,
        "outputs": [{"name": each.name, "parameters": _parameters(each.parameters)} for each in message.outputs],
    }
    for output in head["outputs"]:
        output["parameters"].pop("binary_data", None)  # here they always are
    if message.id:
        head["id"] = message.id
    text = json.dumps(head).encode()
    return b"".join((text, *parts)), len(text)


def infer_response(body: bytes, head_length: int) -> Any:
    """The ModelInferResponse of a body whose outputs are all in binary form."""
    head, at = json.loads(body[:head_length]), head_length
    response = inference_message("ModelInferResponse")(
        model_name=head["model_name"], model_version=head["model_version"], id=head.get("id", "")
    )
    for name, value in head["parameters"].items():
        setattr(response.parameters[name], _FIELDS[type(value)], value)
    for output in head["outputs"]:
        response.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        size = output["parameters"]["binary_data_size"]
        response.raw_output_contents.append(body[at : at + size])
        at += size
    return response


def metadata_response(name: str, document: Mapping[str, Any]) -> Any:
    """The message `name` with what the JSON of the same answer says."""
    fields = {field.name for field in inference_message(name).DESCRIPTOR.fields}
    return inference_message(name)(**{key: value for key, value in document.items() if key in fields})


def _joined(elements: Sequence[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(each)) + each for each in elements)


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {name: each.WhichOneof("parameter_choice") for name, each in given.items()}
    return {name: getattr(given[name], field) if field else None for name, field in chosen.items()}
