"""What a JPEG file says of itself before its pixels (ITU-T T.81, annex B): read in microseconds, nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass

START, END, SCAN, EXIF = b"\xff\xd8", b"\xff\xd9", 0xDA, 0xE1
FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive Huffman coding; other frames are left to the general decoder."""

PARAMETERLESS = (0x01, *range(0xD0, 0xD8))


@dataclass(frozen=True)
class JpegHeader:
    """Size in pixels, number of colour components, and whether there is an Exif part, which may turn the image."""

    width: int
    height: int
    components: int
    exif: bool


def read_header(data: bytes) -> JpegHeader | None:
    """The header of a whole JPEG file of 8 bits; None for anything else, a file cut short included."""
    if not data.startswith(START) or not data.rstrip(b"\0").endswith(END):
        return None
    place, exif, found = 2, False, None
    while found is None and place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF or marker in PARAMETERLESS:  # a fill byte; a marker that stands alone
            place += 1 if marker == 0xFF else 2
            continue
        if marker == SCAN:
            return None
        exif = exif or marker == EXIF
        if marker in FRAMES:
            found = data[place + 4 : place + 10]
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return _header(found, exif) if found else None


def _header(frame: bytes, exif: bool) -> JpegHeader | None:
    """Of precision, height, width and components as a frame gives them."""
    if len(frame) < 6 or frame[0] != 8:
        return None
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    return JpegHeader(width, height, frame[5], exif) if width and height else None
