"""Tensors of the Open Inference Protocol V2, and their encoding in JSON and in the binary extension."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from triggers.errors import InputError

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class V2Tensor:
    """One output: its elements in row-major order."""

    datatype: Literal["FP32", "BYTES", "BOOL"]
    shape: tuple[int, ...]
    data: Sequence[Any]

    def binary(self) -> bytes:
        """The elements as the binary extension writes them: little-endian, BYTES each after its length."""
        if self.datatype == "FP32":
            numbers = array("f", self.data)
            if sys.byteorder == "big":
                numbers.byteswap()
            return numbers.tobytes()
        if self.datatype == "BOOL":
            return bytes(self.data)
        return b"".join(_LENGTH.pack(len(each)) + each for each in (text.encode() for text in self.data))


def split_bytes(data: memoryview) -> list[bytes]:
    """The elements of a BYTES tensor in binary form. Raises InputError("malformed_tensor")."""
    elements, at = [], 0
    while at < len(data):
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(data, at)[0] if start <= len(data) else start
        if end > len(data):
            message = f"A BYTES tensor of {len(data)} bytes ends within an element that needs {end - at} from byte {at}"
            raise InputError("malformed_tensor", message + "; each element is its length (4 bytes, LE) and its bytes.")
        elements.append(bytes(data[start:end]))
        at = end
    return elements


def flatten_elements(data: Sequence[Any]) -> list[Any]:
    """The elements of a JSON tensor, which may be nested by its shape (N, 1) or flat."""
    return [item for each in data for item in (each if isinstance(each, list) else [each])]
