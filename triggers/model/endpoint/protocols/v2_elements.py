"""Elements of tensors of the Open Inference Protocol V2 in binary form: little-endian, BYTES each after its length."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from triggers.errors import ModelError
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.protocols.row_encoding import NumberArray, pixel_table, row_bytes, row_strings
from triggers.model.endpoint.protocols.score_table import label_table, number_table
from triggers.model.endpoint.request_rows import Rows

NUMBER_TYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""numpy's name of each type; BF16, which numpy lacks, is read apart."""
_LENGTH = struct.Struct("<I")


def pack_elements(elements: Sequence[bytes]) -> bytes:
    """A BYTES tensor in binary form."""
    return b"".join(_LENGTH.pack(len(each)) + each for each in elements)


def unpack_elements(data: bytes) -> list[bytes]:
    """The elements of a BYTES tensor in binary form. Raises ModelError."""
    found, at = [], 0
    while at < len(data):
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(data, at)[0] if start <= len(data) else len(data) + 1
        if end > len(data):
            raise ModelError(f"A BYTES tensor of the endpoint ends within an element, at byte {len(data)}.")
        found.append(data[start:end])
        at = end
    return found


def numbers_of(datatype: str, data: bytes) -> NumberArray:
    """The elements of a tensor of numbers in binary form. Raises ModelError."""
    if datatype == "BF16":
        return (_numbers("<u2", data).astype("<u4") << 16).view("<f4")
    if datatype not in NUMBER_TYPES:
        raise ModelError(f"The endpoint answers a tensor of {datatype}, which is no type of the protocol.")
    return _numbers(NUMBER_TYPES[datatype], data)


def _numbers(kind: str, data: bytes) -> NumberArray:
    try:
        return np.frombuffer(data, dtype=kind)
    except ValueError as error:
        raise ModelError(f"A tensor of the endpoint has {len(data)} bytes, no whole number of elements.") from error


def input_tensor(rows: Rows, loader: EndpointLoader) -> tuple[dict[str, object], NumberArray | list[bytes]]:
    """Name, shape, datatype and parameters of the input tensor, and its elements."""
    table = pixel_table(rows, loader)
    elements: NumberArray | list[bytes]
    if table is None:
        files = isinstance(rows, Tensor) and loader.file_bytes == "base64"
        elements = [each.encode() for each in row_strings(rows, loader)] if files else row_bytes(rows, loader)
        shape, datatype = [len(elements), *loader.item_shape], "BYTES"
    else:
        datatype = loader.datatype or ("UINT8" if loader.encoding == "pixels" else "FP32")
        elements, shape = table.astype(NUMBER_TYPES[datatype], copy=False), list(table.shape)
    described = {"name": str(loader.input), "shape": shape, "datatype": datatype}
    return described | ({"parameters": dict(loader.parameters)} if loader.parameters else {}), elements


def output_tensor(
    loader: EndpointLoader, datatype: str, shape: Sequence[int], elements: Sequence[object] | NumberArray
) -> Tensor:
    """The elements of an output tensor as (N, O). Raises ModelError."""
    if loader.scores == "labels":
        flat = elements.tolist() if isinstance(elements, np.ndarray) else list(elements)
        return label_table([each.decode() if isinstance(each, bytes) else each for each in flat], loader.columns)
    if datatype == "BYTES":
        raise ModelError(
            f"The endpoint's output is of BYTES ({str(list(elements)[:1])[:80]}): labels, no scores? Then say "
            '--endpoint \'{"scores": "labels"}\', and --labels.'
        )
    return number_table(elements.astype("f8") if isinstance(elements, np.ndarray) else elements, shape)
