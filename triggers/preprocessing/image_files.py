"""Image files of clients: formats and limits, orientation, colour mode. Nothing here knows a network's size."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from triggers.errors import InputError
from triggers.preprocessing.jpeg import plain_size

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


@dataclass(frozen=True)
class ImageLimits:
    """Limits of a client's image: bytes of the file and pixels it claims to hold, checked before decoding."""

    max_bytes: int = 16 * 1024 * 1024
    max_pixels: int = 50_000_000


def read_image(data: bytes, channels: int, limits: ImageLimits) -> Image.Image:
    """An image file, decoded, turned upright, in RGB (3 channels) or grey (1). Raises InputError."""
    image = _open(data, limits)
    try:
        return _to_mode(ImageOps.exif_transpose(image), channels)
    except (OSError, ValueError, SyntaxError, IndexError, EOFError, MemoryError) as error:
        raise InputError("image_undecodable", f"The image is damaged or cut short: {error}") from error


def claimed_pixels(data: bytes, limits: ImageLimits) -> int:
    """Pixels that an image file claims to hold; 0 for one that is refused unread. Reads its header, decodes nothing."""
    if len(data) > limits.max_bytes:
        return 0
    size = plain_size(data)
    try:
        width, height = size or _open(data, limits).size
    except InputError:
        return 0
    return width * height if width * height <= limits.max_pixels else 0


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


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError("image_too_many_pixels", f"The image claims too many pixels: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        known = ", ".join(FORMATS)
        raise InputError("not_an_image", f"The bytes are not an image in a known format ({known}).") from error
    check_pixels(*image.size, limits)
    if getattr(image, "n_frames", 1) > 1:
        raise InputError("animated_image", "The image has several frames; send the one that is to be classified.")
    return image


def _to_mode(image: Image.Image, channels: int) -> Image.Image:
    """Any colour mode to RGB or grey: 16 bits are scaled to 8, transparency is laid on black."""
    if image.mode.startswith("I") or image.mode == "F":
        wide = np.asarray(image, dtype=np.float64)
        image = Image.fromarray((np.clip(wide / 257.0, 0, 255) + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return image.convert("RGB" if channels == 3 else "L")
