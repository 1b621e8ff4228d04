"""Decoding of plain JPEG files by torchvision, to the same pixels as Pillow's in a third of the time.

Both use libjpeg, so three 8-bit colour components without Exif (which may turn the image), Adobe (other colours) or
further frames come out the same; `tests/triggers/preprocessing/test_jpeg.py` checks it. Pillow decodes everything else,
and will decode all of it once torchvision, as announced, drops its decoders.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

_START, _SCAN = b"\xff\xd8", 0xDA
_SCAN_MARKER = bytes([0xFF, _SCAN])
_HEAD, _ENOUGH = 2048, 10
"""Bytes of a usual file before its scan at most, and bytes from the scan on that the parser reads."""
_RGB = 3  # torchvision.io.ImageReadMode.RGB
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive
_HARMLESS = frozenset({0xC4, 0xDB, 0xDD, 0xE0, 0xFE})  # tables, restart interval, JFIF, comment


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a plain JPEG claims; None for every other file. Reads markers, decodes nothing.

    Results are cached by the bytes up to the scan, which are the same in files of one size from one encoder.
    """
    end = data.find(_SCAN_MARKER, 0, _HEAD)
    return (_remembered(data[: end + _ENOUGH]) if end > 0 else None) or _walk(data)


def _walk(data: bytes) -> tuple[int, int] | None:
    if data[:2] != _START:
        return None
    at, size = 2, None
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _SCAN:
            return size
        if marker in _FRAMES and size is None:
            precision, components = data[at + 4], data[at + 9]
            size = int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
            if precision != 8 or components != 3 or not all(size):
                return None
        elif marker not in _HARMLESS and not _is_profile(data, at):
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


_remembered = lru_cache(maxsize=256)(_walk)


def _is_profile(data: bytes, at: int) -> bool:
    """Whether a segment is a colour profile, which neither decoder applies."""
    return data[at + 1] == 0xE2 and data[at + 4 : at + 16] == b"ICC_PROFILE\0"


def decode_plain(data: bytes) -> Tensor | None:
    """Pixels (3, H, W) as uint8 of a plain JPEG; None if it is damaged, or torchvision has no JPEG decoder."""
    decode = _decoder()
    try:
        return decode(torch.frombuffer(bytearray(data), dtype=torch.uint8), _RGB, False) if decode else None
    except RuntimeError:
        return None


@cache
def _decoder() -> Callable[[Tensor, int, bool], Tensor] | None:
    """torchvision's decoder from its library alone: its package also imports torch's compiler, for over a second."""
    package = find_spec("torchvision")
    for library in Path(package.origin or "").parent.glob("image*.so") if package else ():
        torch.ops.load_library(str(library))
    if not hasattr(torch.ops.image, "decode_jpeg"):
        import torchvision  # noqa: F401 # knows where its library is on other systems
    return getattr(torch.ops.image, "decode_jpeg", None)
