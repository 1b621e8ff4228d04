"""Image files of clients: formats and limits, orientation, colour mode. Nothing here knows a network's size."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from PIL import ExifTags, Image

from triggers.errors import InputError
from triggers.preprocessing.image_metadata import exif_orientation, without_metadata
from triggers.preprocessing.jpeg import plain_size

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_DAMAGED = frozenset({"not_an_image", "image_undecodable"})
_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_HALF_LEVEL = 0.5 / 255

Alpha: TypeAlias = Literal["black", "drop"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class ImageLimits:
    """Limits of a client's image: bytes of the file and pixels it claims to hold, checked before decoding."""

    max_bytes: int = 16 * 1024 * 1024
    max_pixels: int = 50_000_000


def read_image(data: bytes, channels: int, alpha: Alpha, limits: ImageLimits) -> Image.Image:
    """An image file, decoded, turned upright, in RGB (3 channels) or grey (1). Raises InputError, nothing else.

    `alpha`: transparent pixels are laid on black, or transparency is dropped.
    """
    return _lenient(data, lambda file: _decoded(file, channels, alpha, limits))


def claimed_size(data: bytes, limits: ImageLimits) -> tuple[int, int] | None:
    """Width and height that an image file claims; None for one that is refused unread. Decodes nothing."""
    if len(data) > limits.max_bytes:
        return None
    try:
        width, height = plain_size(data) or _lenient(data, lambda file: _open(file, limits).size)
    except InputError:
        return None
    return (width, height) if width * height <= limits.max_pixels else None


def check_bytes(data: bytes, limits: ImageLimits) -> None:
    """Refuse a file that is too long. Raises InputError."""
    if len(data) > limits.max_bytes:
        message = f"The image has {len(data)} bytes; at most {limits.max_bytes} are accepted."
        raise InputError("image_too_large", message)


def check_pixels(width: int, height: int, limits: ImageLimits) -> None:
    """Refuse an image that claims too many pixels. Raises InputError."""
    if width * height > limits.max_pixels:
        message = f"The image claims {width} x {height} pixels; at most {limits.max_pixels} in all are accepted."
        raise InputError("image_too_many_pixels", message)


def _lenient(data: bytes, read: Callable[[bytes], _T]) -> _T:
    """`read` of the file; where it is damaged, of the file without its metadata. Raises InputError."""
    try:
        return read(data)
    except InputError as error:
        lean = without_metadata(data) if error.code in _DAMAGED else None
        if lean is None or lean == data:
            raise
        try:
            return read(lean)
        except InputError as second:
            raise error if second.code in _DAMAGED else second from None


def _decoded(data: bytes, channels: int, alpha: Alpha, limits: ImageLimits) -> Image.Image:
    image = _open(data, limits)
    try:
        image.load()
        return _to_mode(_upright(image), channels, alpha)
    except InputError:
        raise
    except Exception as error:  # a decoder's damaged file raises what it likes: struct.error, KeyError, OverflowError
        raise InputError("image_undecodable", f"The image is damaged or cut short: {error}") from error


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    """The image behind its header. A Multi-Picture JPEG is its first picture."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError("image_too_many_pixels", f"The image claims too many pixels: {error}") from error
    except Exception as error:
        known = ", ".join(FORMATS)
        message = f"The bytes are not an image in a known format ({known}; 8 or 16 bits in a channel)."
        raise InputError("not_an_image", message) from error
    check_pixels(*image.size, limits)
    if frames > 1:
        raise InputError("animated_image", "The image has several frames; send the one that is to be classified.")
    return image


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its Exif block says; as it is where the block cannot be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation) or exif_orientation(image.info.get("exif", b""))
        turn = _TURNS.get(orientation)
    except Exception:  # text as a resolution, a directory outside of its block: whatever a camera or a bit flip wrote
        turn = _TURNS.get(exif_orientation(image.info.get("exif", b"")))
    return image if turn is None else image.transpose(turn)


def _to_mode(image: Image.Image, channels: int, alpha: Alpha) -> Image.Image:
    """Any colour mode to RGB or grey: wide values are scaled to 8 bits, transparency is laid on black or dropped."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if alpha == "black" and image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    image.info.pop("transparency", None)  # Pillow warns where a palette has several degrees of it
    return image.convert("RGB" if channels == 3 else "L")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of up to 16 bits by its bits, of floats from 0 to 1. Raises InputError for any other range."""
    tags, values = getattr(image, "tag_v2", {}), np.asarray(image, dtype=np.float32)
    if image.mode == "F":
        top, kind = 1.0, "floats"
    elif image.mode == "I" and image.format != "PNG":  # older releases of Pillow open a PNG of 16 bits in this mode
        top, kind = 0.0, "signed or 32-bit integers"
    else:
        top, kind = 2.0 ** tags.get(_BITS, (16,))[0] - 1, "integers"
    scaled = values * (255 / top) if top else values
    low, high = float(values.min()), float(values.max())
    if not (top and -_HALF_LEVEL * top <= low and high <= (1 + _HALF_LEVEL) * top):
        message = f"The image holds {kind} from {low:g} to {high:g}, and nothing says what is white"
        raise InputError("unknown_range", message + "; save it with 8 or 16 bits, or as floats from 0 to 1.")
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts 8 bits itself
        scaled = 255 - scaled
    return Image.fromarray((np.clip(scaled, 0, 255) + 0.5).astype(np.uint8))
