"""Image files and texts, broken at random: every draw is a function of its seed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

_WIDTH, _HEIGHT = 29, 18
_HEAD = 400
"""Bytes at the start of a file, which half of all damage hits: most of what a decoder can stumble over is there."""
_MARKERS = [
    *(
        bytes([0xFF, second])
        for second in (0xC0, 0xC2, 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xED, 0xEE)
    ),
    *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL", b"fcTL"),
    *(b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANMF", b"EXIF", b"XMP ", b"ICCP", b"GIF89a", b"BM"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MPF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe", b"Photoshop 3.0\0", b"JFIF\0"),
]
_NUMBERS = [0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
_PLANES = [(0x00, 0x20), (0x20, 0x7F), (0x80, 0x250), (0x300, 0x370), (0x590, 0x700), (0x900, 0xA00), (0x1100, 0x1200)]
_PLANES += [(0x2000, 0x2070), (0x3000, 0x9FFF), (0xD800, 0xE000), (0xE000, 0xE100), (0xFE00, 0x10000)]
_PLANES += [(0x1F000, 0x1FB00), (0x20000, 0x20100), (0xE0000, 0xE01F0), (0x10FF00, 0x110000)]


def picture(mode: str = "RGB") -> Image.Image:
    """A ramp, unlike itself in every turn."""
    ramp = np.linspace(0, 1, _WIDTH * _HEIGHT, dtype=np.float32).reshape(_HEIGHT, _WIDTH)
    if mode == "F":
        return Image.fromarray(ramp)
    if mode == "I;16":
        return Image.fromarray((ramp * 65535).astype(np.uint16))
    if mode == "grey":
        return Image.fromarray((ramp * 255).round().astype(np.uint8))
    colours = np.stack([ramp * 255, 255 - ramp * 255, (ramp * 1000) % 255], axis=2).astype(np.uint8)
    return Image.fromarray(colours).convert(mode)


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    """The picture as a file."""
    out = io.BytesIO()
    picture(mode).save(out, kind, **options)
    return out.getvalue()


def exif_block(orientation: int = 6) -> Image.Exif:
    """An Exif block of a camera: maker, orientation, resolution, a date in a directory of its own."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x011A], exif[0x0131] = "maker of cameras", orientation, 72.0, "software"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:01 00:00:00"
    return exif


def image_files() -> list[bytes]:
    """Small healthy files of every format that is read, with and without metadata, and some animations."""
    about: dict[str, Any] = {
        "exif": exif_block(),
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><tiff:Orientation>8</tiff:Orientation></x:xmpmeta>"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "made for this test", zip=True)
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[274], tags[305] = "what it shows", 6, "software of a scanner"
    return [
        encoded("JPEG"),
        encoded("JPEG", progressive=True, comment=b"a comment"),
        encoded("JPEG", **about, xmp=xmp),
        encoded("JPEG", "L"),
        encoded("JPEG", "CMYK"),
        encoded("MPO", **_second_frame(), exif=exif_block()),
        encoded("PNG"),
        encoded("PNG", "RGBA", **about, pnginfo=text),
        encoded("PNG", "P", transparency=3),
        encoded("PNG", "I;16"),
        encoded("PNG", **_second_frame()),
        encoded("WEBP", **about, xmp=xmp),
        encoded("WEBP", "RGBA", lossless=True),
        encoded("WEBP", **_second_frame()),
        encoded("BMP"),
        encoded("BMP", "P"),
        encoded("GIF", "P", comment=b"a comment"),
        encoded("GIF", **_second_frame()),
        encoded("TIFF", tiffinfo=tags),
        *(
            encoded("TIFF", compression=how, tiffinfo=tags)
            for how in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
        ),
        encoded("TIFF", big_tiff=True),
        encoded("TIFF", "1", compression="group4"),
        encoded("TIFF", "I;16"),
        encoded("TIFF", "F"),
        encoded("TIFF", **_second_frame()),
    ]


def _second_frame() -> dict[str, Any]:
    return {"save_all": True, "append_images": [picture().rotate(180)]}


def broken_file(random: Random, files: Sequence[bytes]) -> bytes:
    """One of the files with one to four damages."""
    data = bytearray(random.choice(files))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        random.choice(_DAMAGES)(random, data, files)
    return bytes(data)


def broken_text(random: Random) -> str:
    """Up to forty characters of some planes of Unicode: controls, combining marks, surrogates, whole words."""
    planes = random.sample(_PLANES, random.choice((1, 1, 2, 3)))
    characters = (chr(random.randrange(*random.choice(planes))) for _ in range(random.choice((0, 1, 2, 5, 40))))
    return random.choice(("", "", "\ufeff", "what a lovely day ")) + "".join(characters)


def broken_bytes(random: Random) -> bytes:
    """A text in some encoding, at times cut or with a bit flipped."""
    coding = random.choice(("utf-8", "utf-8", "utf-16-le", "utf-16", "utf-32", "latin-1"))
    data = bytearray(broken_text(random).encode(coding, "surrogatepass" if coding != "latin-1" else "replace"))
    if random.random() < 0.5:
        random.choice((_flip, _cut, _insert))(random, data, ())
    return bytes(data)


Damage = Callable[[Random, bytearray, Sequence[bytes]], None]


def _place(random: Random, data: bytearray) -> int:
    return random.randrange(min(len(data), _HEAD) if random.random() < 0.5 else len(data)) if data else 0


def _flip(random: Random, data: bytearray, files: Sequence[bytes]) -> None:
    for _ in range(random.choice((1, 1, 3, 8))):
        if data:
            data[_place(random, data)] ^= 1 << random.randrange(8)


def _number(random: Random, data: bytearray, files: Sequence[bytes]) -> None:
    """An edge of a number's range over two, four or eight bytes, which may be a length, a count or an offset."""
    width, at = random.choice((1, 2, 4, 8)), _place(random, data)
    value = random.choice((*_NUMBERS, len(data), len(data) - at)) % (1 << 8 * width)
    data[at : at + width] = value.to_bytes(width, random.choice(("big", "little")))


def _cut(random: Random, data: bytearray, files: Sequence[bytes]) -> None:
    del data[_place(random, data) :]


def _lose(random: Random, data: bytearray, files: Sequence[bytes]) -> None:
    at = _place(random, data)
    del data[at : at + random.choice((1, 2, 4, 16, 60))]


def _insert(random: Random, data: bytearray, files: Sequence[bytes]) -> None:
    at = _place(random, data)
    data[at:at] = random.randbytes(random.choice((1, 2, 4, 16, 300)))


def _repeat(random: Random, data: bytearray, files: Sequence[bytes]) -> None:
    start, at = _place(random, data), _place(random, data)
    data[at:at] = data[start : start + random.choice((4, 16, 100))]


def _splice(random: Random, data: bytearray, files: Sequence[bytes]) -> None:
    """Another file's end, or a part of it in the middle."""
    other, at = random.choice(files), _place(random, data)
    start = random.randrange(len(other))
    end = len(other) if random.random() < 0.5 else start + random.choice((4, 30, 200))
    data[at : len(data) if end == len(other) else at] = other[start:end]


def _rename(random: Random, data: bytearray, files: Sequence[bytes]) -> None:
    """One marker, chunk or signature turned into another."""
    there = [marker for marker in _MARKERS if marker in data]
    if there:
        old = random.choice(there)
        at, new = data.find(old), random.choice(_MARKERS)
        data[at : at + len(new)] = new


_DAMAGES: list[Damage] = [_flip, _number, _cut, _lose, _insert, _repeat, _splice, _rename]
