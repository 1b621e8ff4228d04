"""The Open Inference Protocol V2 over gRPC: messages with tensors in binary form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor

from triggers.errors import ModelError
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.inference_messages import inference_message, parse_message
from triggers.model.endpoint.protocols.v2_elements import (
    input_tensor,
    numbers_of,
    output_tensor,
    pack_elements,
    unpack_elements,
)
from triggers.model.endpoint.request_rows import Rows

CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def grpc_model(url: str) -> tuple[str, str]:
    """Name and version (or nothing) of the model in grpc://HOST:PORT/NAME/VERSION."""
    name, _, version = urlsplit(url).path.strip("/").partition("/")
    return name, version


class V2GrpcProtocol:
    """Messages of ModelInfer; the connection carries them as they are."""

    def __init__(self, loader: EndpointLoader) -> None:
        self._loader, (self._name, self._version) = loader, grpc_model(loader.url)

    def encode(self, rows: Rows) -> tuple[bytes, Mapping[str, str]]:
        """A ModelInferRequest."""
        described, elements = input_tensor(rows, self._loader)
        request = inference_message("ModelInferRequest")(model_name=self._name, model_version=self._version)
        tensor = request.inputs.add(name=described["name"], datatype=described["datatype"], shape=described["shape"])
        for name, value in self._loader.parameters.items():
            kind = "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else "string"
            kind = "double" if isinstance(value, float) else kind
            setattr(tensor.parameters[name], f"{kind}_param", value)
        if self._loader.output:
            request.outputs.add(name=self._loader.output)
        request.raw_input_contents.append(pack_elements(elements) if isinstance(elements, list) else elements.tobytes())
        return request.SerializeToString(), {}

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Tensor:
        """The output that counts of a ModelInferResponse. Raises ModelError."""
        response = parse_message("ModelInferResponse", body)
        names = [each.name for each in response.outputs]
        chosen = [n for n, name in enumerate(names) if self._loader.output in (None, name)]
        if len(chosen) != 1:
            raise ModelError(f"The endpoint's answer has outputs {names}; `loader.output` must name one of them.")
        return _tensor(self._loader, response, chosen[0])


def _tensor(loader: EndpointLoader, response: Any, chosen: int) -> Tensor:
    output = response.outputs[chosen]
    if not response.raw_output_contents:
        if output.datatype not in CONTENTS:
            raise ModelError(f"The endpoint answers a tensor of {output.datatype} that is not in binary form.")
        elements = list(getattr(output.contents, CONTENTS[output.datatype]))
        return output_tensor(loader, output.datatype, output.shape, elements)
    if len(response.raw_output_contents) != len(response.outputs):
        raise ModelError(
            f"The endpoint answers {len(response.outputs)} outputs, {len(response.raw_output_contents)} with data."
        )
    data = response.raw_output_contents[chosen]
    found = unpack_elements(data) if output.datatype == "BYTES" else numbers_of(output.datatype, data)
    return output_tensor(loader, output.datatype, output.shape, found)
