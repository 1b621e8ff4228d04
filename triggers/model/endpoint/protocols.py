"""Protocols of endpoints: rows to a request body, and a response body to a table of outputs."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from triggers.errors import ModelError
from triggers.model.endpoint.endpoint_loader import EndpointLoader, ProtocolName
from triggers.model.endpoint.request_rows import Rows

JSON_HEADERS = {"content-type": "application/json", "accept": "application/json"}


class EndpointProtocol(Protocol):
    """How rows travel to an endpoint, and its outputs back."""

    def encode(self, rows: Rows) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers of a request."""
        ...

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Tensor:
        """Outputs (N, O) float32 in a response. Raises ModelError."""
        ...


class V2Protocol:
    """The Open Inference Protocol, version 2, over HTTP with tensors in JSON."""

    def __init__(self, loader: EndpointLoader) -> None:
        self._loader = loader

    def encode(self, rows: Rows) -> tuple[bytes, Mapping[str, str]]:
        """One input tensor."""
        loader = self._loader
        if isinstance(rows, Tensor) and loader.encoding in ("pixels", "float"):
            table = rows.permute(0, 2, 3, 1) if loader.layout == "NHWC" else rows
            datatype = "UINT8" if loader.encoding == "pixels" else "FP32"
            one = {"shape": list(table.shape), "datatype": datatype, "data": table.flatten().tolist()}
        else:
            items = encoded_items(rows, loader)
            one = {"shape": [len(items)], "datatype": "BYTES", "data": items}
        return json.dumps({"inputs": [{"name": str(loader.input), **one}]}).encode(), JSON_HEADERS

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Tensor:
        """The output of that name, or the only one."""
        found = parsed(body)
        outputs = found.get("outputs") if isinstance(found, dict) else None
        named = [each for each in outputs or () if self._loader.output in (None, each.get("name"))]
        if len(named) != 1:
            names = [each.get("name") for each in outputs or ()]
            raise ModelError(f"The endpoint's answer has outputs {names}; `loader.output` must name one of them.")
        return table_of([named[0].get("data")], named[0].get("shape"))


class JsonProtocol:
    """Any JSON: a template of the body with "$inputs" where the list of rows goes, a path to the scores of all rows."""

    def __init__(self, loader: EndpointLoader) -> None:
        self._loader = loader

    def encode(self, rows: Rows) -> tuple[bytes, Mapping[str, str]]:
        """The template with the rows in it."""
        loader = self._loader
        if isinstance(rows, Tensor) and loader.encoding in ("pixels", "float"):
            given: Any = (rows.permute(0, 2, 3, 1) if loader.layout == "NHWC" else rows).tolist()
        else:
            given = encoded_items(rows, loader)
        return json.dumps(_filled(loader.input or "$inputs", given)).encode(), JSON_HEADERS

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Tensor:
        """What lies at the path."""
        found: Any = parsed(body)
        for part in filter(None, (self._loader.output or "").removeprefix("$").split(".")):
            if not isinstance(found, dict) or part not in found:
                raise ModelError(f"The endpoint's answer has no {self._loader.output!r} (`loader.output`).")
            found = found[part]
        return table_of(found, None)


PROTOCOLS: Mapping[ProtocolName, Callable[[EndpointLoader], EndpointProtocol]] = {
    "v2": V2Protocol,
    "json": JsonProtocol,
}


def encoded_items(rows: Rows, loader: EndpointLoader) -> list[str]:
    """Texts, or picture files in base64."""
    if not isinstance(rows, Tensor):
        return list(rows)
    return [base64.b64encode(image_file(each, loader)).decode() for each in rows]


def image_file(pixels: Tensor, loader: EndpointLoader) -> bytes:
    """One picture (C, H, W) uint8 as a PNG or JPEG file."""
    array, file = pixels.permute(1, 2, 0).contiguous().numpy(), io.BytesIO()
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    if loader.encoding == "jpeg":
        image.save(file, "JPEG", quality=loader.quality, subsampling=0)
    else:
        image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def parsed(body: bytes) -> Any:
    """JSON of an answer. Raises ModelError."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise ModelError(f"The endpoint's answer is no JSON: {body[:80]!r}") from error


def table_of(data: Any, shape: Sequence[int] | None) -> Tensor:
    """Numbers as a table (N, O). Raises ModelError."""
    try:
        found = torch.tensor(data, dtype=torch.float32)
        found = found if shape is None else found.reshape(shape)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"The endpoint's scores are no table of numbers: {error}") from error
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2:
        raise ModelError(f"The endpoint's scores have shape {tuple(found.shape)}, not (rows, outputs).")
    return found


def _filled(template: Any, rows: Any) -> Any:
    if template == "$inputs":
        return rows
    if isinstance(template, dict):
        return {key: _filled(value, rows) for key, value in template.items()}
    return [_filled(each, rows) for each in template] if isinstance(template, list) else template
