"""The PNG writer of endpoints, read by Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from triggers.model.endpoint.protocols.row_encoding import png_file


@pytest.mark.parametrize("shape", [(1, 1, 3), (16, 16, 3), (24, 40, 3), (40, 24, 1), (224, 224, 3)])
def test_pixels_come_back_as_they_were(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(png_file(pixels))) as image:
        image.load()
        assert (image.format, image.mode) == ("PNG", "RGB" if shape[2] == 3 else "L")
        assert (np.asarray(image).reshape(shape) == pixels).all()
