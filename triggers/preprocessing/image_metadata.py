"""Metadata of image files: a file without them, and the orientation that a damaged Exif block still states.

Colour profiles, comments, XMP, Exif and private tags never reach a network, but a decoder that stumbles over them
refuses the whole file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

_ORIENTATION, _SHORT = 0x0112, 3
_EXIF = b"Exif\0\0"
_PIXEL_TAGS = frozenset(
    {*range(256, 260), 262, 266, 273, _ORIENTATION, *range(277, 280), 284, 292, 293, 317, 320, *range(322, 326)}
    | {338, 339, 347, *range(529, 533)}
)
"""Tags of a TIFF that say where its pixels are and what they mean."""
_PNG_START, _PNG_KEPT = b"\x89PNG\r\n\x1a\n", frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf"})
_WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"EXIF"})
_WEBP_METADATA_FLAGS = 0x24  # a colour profile, XMP


def without_metadata(data: bytes) -> bytes | None:
    """The file with what its pixels need, Exif included; None for other formats or an unreadable structure."""
    try:
        if data[:2] == b"\xff\xd8":
            return data[:2] + b"".join(_jpeg_parts(data))
        if data[:8] == _PNG_START:
            return data[:8] + b"".join(_png_parts(data))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            body = b"WEBP" + b"".join(_webp_parts(data))
            return b"RIFF" + struct.pack("<I", len(body)) + body
        return _lean_tiff(data) if data[:2] in (b"II", b"MM") else None
    except (struct.error, IndexError):
        return None


def exif_orientation(block: bytes) -> int | None:
    """The orientation that an Exif block states, whatever its other tags hold; None if there is none."""
    try:
        directory = _directory(block := block.removeprefix(_EXIF))
        for entry in directory.entries:
            tag, kind, count = struct.unpack_from(directory.order + "HHI", entry)
            if (tag, kind, count) == (_ORIENTATION, _SHORT, 1):
                return int(struct.unpack_from(directory.order + "H", entry, 8)[0])
    except struct.error:
        pass
    return None


def _jpeg_parts(data: bytes) -> Iterator[bytes]:
    """Segments from the first on; from the scan on, everything."""
    at = 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        marker = data[at + 1]
        if data[at] != 0xFF or end > len(data):
            raise IndexError(at)
        metadata = marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != 0xEE)  # 0xEE says what the colours are
        if not metadata or data[at + 4 : at + 10] == _EXIF:
            yield data[at:end]
        at = end
    yield data[at:]


def _png_parts(data: bytes) -> Iterator[bytes]:
    """Chunks that matter; the checksum of an optional one is made good."""
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if kind[:1].isupper():
            yield data[at:end]
        elif kind in _PNG_KEPT:
            yield data[at : end - 4] + struct.pack(">I", zlib.crc32(data[at + 4 : end - 4]))
        at = end


def _webp_parts(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        kind, (length,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        end = at + 8 + length + length % 2
        if kind == b"VP8X":
            yield data[at : at + 8] + bytes([data[at + 8] & ~_WEBP_METADATA_FLAGS]) + data[at + 9 : end]
        elif kind in _WEBP_PIXELS:
            yield data[at:end]
        at = end


class _Directory(NamedTuple):
    """The first directory of a TIFF structure: widths of its fields, raw entries, the place of the next."""

    order: str
    number: str
    pointer: str
    header: int
    entries: list[bytes]
    following: bytes


def _directory(data: bytes) -> _Directory:
    """Raises struct.error."""
    order = ">" if data[:2] == b"MM" else "<"
    big = data[2:4] in (b"+\0", b"\0+")
    count, pointer, width, header = ("Q", "Q", 20, 8) if big else ("H", "I", 12, 4)
    (start,) = struct.unpack_from(order + pointer, data, header)
    if start >= len(data):
        raise struct.error("The directory is not in the file.")
    (number,) = struct.unpack_from(order + count, data, start)
    first, number = start + struct.calcsize(order + count), min(number, len(data) // width)
    entries = [data[at : at + width] for at in range(first, first + number * width, width)]
    end = first + number * width
    return _Directory(order, count, pointer, header, entries, data[end : end + struct.calcsize(pointer)])


def _lean_tiff(data: bytes) -> bytes:
    """The file with a shorter first directory behind it; whether there is a next one stays as it was."""
    found = _directory(data)
    size, width = struct.calcsize(found.pointer), 20 if found.pointer == "Q" else 12
    kept = [
        entry
        for entry in found.entries
        if len(entry) == width and struct.unpack_from(found.order + "H", entry)[0] in _PIXEL_TAGS
    ]
    padded = data + bytes(len(data) % 2)
    start = struct.pack(found.order + found.pointer, len(padded))
    directory = struct.pack(found.order + found.number, len(kept)) + b"".join(kept) + found.following.ljust(size, b"\0")
    return padded[: found.header] + start + padded[found.header + size :] + directory
