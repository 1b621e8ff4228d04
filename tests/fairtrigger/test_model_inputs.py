"""Images and texts as a model takes them: nothing lost, and nothing taken for what it is not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fairtrigger.model_inputs import check_many, image_as_file, plain_text
from triggers.errors import ConfigError, InputError

PIXELS = np.random.default_rng(3).integers(0, 256, (7, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "F"])
def test_pixels_survive_as_a_file(mode: str) -> None:
    image = Image.fromarray(PIXELS[..., 0].astype(np.uint16)) if mode == "I;16" else Image.fromarray(PIXELS)
    image = image if image.mode == mode else image.convert("L").convert(mode)
    with Image.open(io.BytesIO(image_as_file(image))) as read:
        assert (read.mode, read.tobytes()) == (mode, image.tobytes())


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (7, 9, 4)])
def test_arrays_are_pixels_as_they_are(shape: tuple[int, ...]) -> None:
    pixels = np.resize(PIXELS, shape)
    with Image.open(io.BytesIO(image_as_file(pixels[:, ::-1]))) as read:
        assert np.array_equal(np.asarray(read), pixels[:, ::-1])


@pytest.mark.parametrize(
    "image", [PIXELS / 255, PIXELS.transpose(2, 0, 1), PIXELS[:0], PIXELS[None], None, 3.5, {"bytes": b""}]
)
def test_what_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(InputError) as found:
        image_as_file(image)
    assert found.value.code == "not_an_image"


def test_a_gap_is_no_text() -> None:
    assert plain_text("nan") == "nan"
    with pytest.raises(InputError, match="not nan"):
        plain_text(float("nan"))


@pytest.mark.parametrize("single", ["a text", b"file", PIXELS, PIXELS[..., 0], Image.fromarray(PIXELS)])
def test_one_input_is_not_taken_for_many(single: Any) -> None:
    with pytest.raises(ConfigError, match="a list of inputs"):
        check_many(single)
    check_many([single])
    check_many(np.stack([PIXELS, PIXELS]))
