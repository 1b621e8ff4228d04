"""The Open Inference Protocol V2 over HTTP: tensors in JSON, or in binary form behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from triggers.errors import ModelError
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.protocols.score_table import parsed_json
from triggers.model.endpoint.protocols.v2_elements import (
    input_tensor,
    numbers_of,
    output_tensor,
    pack_elements,
    unpack_elements,
)
from triggers.model.endpoint.request_rows import Rows

HEAD_LENGTH = "inference-header-content-length"


class V2Protocol:
    """One input tensor, and of the outputs the one that the bundle names, or the only one.

    An answer in JSON is read also where binary form was asked for.
    """

    def __init__(self, loader: EndpointLoader) -> None:
        self._loader = loader

    def encode(self, rows: Rows) -> tuple[bytes, Mapping[str, str]]:
        """The JSON object, and, if the endpoint takes it, the elements behind it."""
        described, elements = input_tensor(rows, self._loader)
        if self._loader.binary:
            return self._binary(described, elements)
        flat = [each.decode() for each in elements] if isinstance(elements, list) else elements.ravel().tolist()
        head: dict[str, Any] = {"inputs": [described | {"data": flat}]}
        if self._loader.output:
            head["outputs"] = [{"name": self._loader.output}]
        body = json.dumps(head, ensure_ascii=False).encode()
        return body, {"content-type": "application/json", "accept": "application/json"}

    def _binary(self, described: dict[str, Any], elements: Any) -> tuple[bytes, Mapping[str, str]]:
        data = pack_elements(elements) if isinstance(elements, list) else elements.tobytes()
        parameters = {**described.get("parameters", {}), "binary_data_size": len(data)}
        head: dict[str, Any] = {"inputs": [described | {"parameters": parameters}]}
        if self._loader.output:
            head["outputs"] = [{"name": self._loader.output, "parameters": {"binary_data": True}}]
        else:
            head["parameters"] = {"binary_data_output": True}
        text = json.dumps(head).encode()
        return text + data, {"content-type": "application/octet-stream", HEAD_LENGTH: str(len(text))}

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Tensor:
        """The output that counts. Raises ModelError."""
        stated = headers.get(HEAD_LENGTH)
        if stated is not None and not (stated.isdigit() and int(stated) <= len(body)):
            raise ModelError(f"The endpoint states {stated[:40]!r} bytes of JSON in an answer of {len(body)} bytes.")
        size = len(body) if stated is None else int(stated)
        found = parsed_json(body[:size])
        outputs = found.get("outputs") if isinstance(found, dict) else None
        if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
            raise ModelError(f"The endpoint's answer has no list of `outputs`: {body[:80]!r}")
        named = [each for each in _with_data(outputs, body[size:]) if self._loader.output in (None, each.get("name"))]
        if len(named) != 1:
            names = [each.get("name") for each in outputs]
            raise ModelError(f"The endpoint's answer has outputs {names}; `loader.output` must name one of them.")
        return _table(self._loader, named[0])


def _with_data(outputs: list[dict[str, Any]], tail: bytes) -> Iterator[dict[str, Any]]:
    """Outputs, those in binary form with their part of the tail. Raises ModelError."""
    at = 0
    for each in outputs:
        size = (each.get("parameters") or {}).get("binary_data_size")
        if size is None:
            yield each
            continue
        if not isinstance(size, int) or not 0 <= size <= len(tail) - at:
            raise ModelError(f"The endpoint states {size!r} bytes of an output; {len(tail) - at} are there.")
        yield each | {"data": tail[at : at + size]}
        at += size


def _table(loader: EndpointLoader, output: Mapping[str, Any]) -> Tensor:
    datatype, shape, data = str(output.get("datatype")), output.get("shape"), output.get("data")
    if not isinstance(shape, list) or not all(isinstance(side, int) for side in shape):
        raise ModelError(f"The endpoint's output has no shape: {shape!r}.")
    if isinstance(data, bytes):
        return output_tensor(
            loader, datatype, shape, unpack_elements(data) if datatype == "BYTES" else numbers_of(datatype, data)
        )
    if not isinstance(data, list):
        raise ModelError(f"The endpoint's output has no data: {str(data)[:80]!r}.")
    return output_tensor(loader, datatype, shape, list(np.asarray(data, dtype=object).ravel()))
