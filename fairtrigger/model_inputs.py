"""Images and texts as people hold them in programs, as a model takes them: the bytes of one file, or one text."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triggers.errors import ConfigError, InputError

ImageInput: TypeAlias = str | Path | bytes | Image.Image | NDArray[Any]
"""A file's path or its bytes, a PIL image, or pixels: uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA."""

_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


def image_as_file(image: ImageInput) -> bytes:
    """The image as a file: paths and bytes as they are, pixels without loss. Raises InputError."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise InputError("unreadable_image", f"{image} cannot be read: {error.strerror or error}.") from error
    if isinstance(image, np.ndarray):
        return _encoded(_from_array(image))
    if not isinstance(image, Image.Image):
        raise InputError("not_an_image", f"An image, its bytes or its path is needed here, not {image!r:.100}.")
    return _encoded(image)


def plain_text(text: object) -> str:
    """The text itself. Raises InputError for what is none, such as the gap of a table."""
    if not isinstance(text, str):
        raise InputError("not_text", f"A text is needed here, not {text!r:.100}.")
    return text


def check_many(inputs: object) -> None:
    """Raise ConfigError for one input that would be taken for many: the letters of a text, the rows of an image."""
    single = isinstance(inputs, str | bytes | Path | Image.Image)
    if single or (isinstance(inputs, np.ndarray) and inputs.dtype != object and inputs.ndim < 4):
        raise ConfigError("Give a list of inputs, also for one: [input].")


def _from_array(pixels: NDArray[Any]) -> Image.Image:
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not fits or not pixels.size:
        raise InputError(
            "not_an_image",
            f"An array of {pixels.dtype} {pixels.shape} is no image here: give uint8 of shape (H, W), (H, W, 3) or "
            "(H, W, 4), channels last, 0 black and 255 white.",
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _encoded(image: Image.Image) -> bytes:
    """PNG, or TIFF for what PNG cannot hold; with the Exif block, whose orientation is part of the picture."""
    file = io.BytesIO()
    try:
        image.save(file, "PNG" if image.mode in _PNG_MODES else "TIFF", exif=image.getexif().tobytes())
    except (OSError, ValueError) as error:
        raise InputError("not_an_image", f"A PIL image of mode {image.mode} cannot be sent: {error}.") from error
    return file.getvalue()
