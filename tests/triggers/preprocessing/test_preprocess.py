"""Decoding real files of every colour mode, and refusing what must be refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from triggers.errors import InputError
from triggers.preprocessing import ImageLimits, ImageSpec, TextBatch
from triggers.preprocessing.preprocess import decode_image

SPEC = ImageSpec.square(size=8, mean=(0.5,) * 3, std=(0.25,) * 3)
GREY = ImageSpec.square(size=8, mean=(0.5,), std=(0.25,), channels=1)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (8, 8), colour)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "TIFF", "GIF"])
def test_lossless_formats_decode_to_the_same_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode_image(encoded(plain("RGB", (255, 0, 51)), kind, **options), SPEC)
    assert pixels.dtype == torch.uint8 and pixels.shape == (3, 8, 8)
    assert pixels[:, 0, 0].tolist() == [255, 0, 51]


def test_sixteen_bit_grey_is_scaled_to_eight() -> None:
    wide = np.full((8, 8), 65535 // 5, dtype=np.uint16)
    assert decode_image(encoded(Image.fromarray(wide)), SPEC).unique().tolist() == [51]


def test_palette_grey_cmyk_and_alpha_are_served() -> None:
    palette = plain("RGB", (0, 128, 255)).quantize(4)
    assert decode_image(encoded(palette), SPEC)[:, 3, 3].tolist() == [0, 128, 255]
    assert decode_image(encoded(plain("L", 77)), SPEC).unique().tolist() == [77]
    assert decode_image(encoded(plain("RGBA", (200, 100, 50, 0))), SPEC).unique().tolist() == [0]
    assert decode_image(encoded(plain("CMYK", (0, 0, 0, 0)), "JPEG"), SPEC).min() > 250


def test_grey_network_gets_one_channel() -> None:
    assert decode_image(encoded(plain("L", 9)), GREY).shape == (1, 8, 8)


def test_exif_orientation_is_followed() -> None:
    image = Image.new("RGB", (8, 8))
    image.paste((255, 255, 255), (0, 0, 8, 4))  # white on top
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = decode_image(encoded(image, "PNG", exif=exif), SPEC)
    assert turned[0, 0, 0] == 0 and turned[0, 7, 0] == 255


def test_crop_keeps_the_centre_and_squash_all() -> None:
    wide = Image.new("RGB", (24, 8))
    wide.paste((255, 255, 255), (8, 0, 16, 8))
    crop = ImageSpec.square(size=8, mean=SPEC.mean, std=SPEC.std, resize="crop")
    assert decode_image(encoded(wide), crop).min() == 255
    assert decode_image(encoded(wide), SPEC)[0, 4, 0] == 0


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")


def refused(data: bytes, limits: ImageLimits | None = None) -> str:
    with pytest.raises(InputError) as caught:
        decode_image(data, SPEC, limits)
    return caught.value.code


def test_refusals_have_stable_codes() -> None:
    photo = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
    frames = [plain("RGB", (0, 0, 0)), plain("RGB", (255, 0, 0))]
    assert refused(b"hello") == "not_an_image"
    assert refused(b"") == "not_an_image"
    assert refused(photo[: len(photo) // 2]) == "image_undecodable"
    assert refused(png_header(30_000, 30_000)) == "image_too_many_pixels"
    assert refused(png_header(9_000, 9_000)) == "image_too_many_pixels"
    assert refused(png_header(10_000, 10_000)) == "image_too_many_pixels"
    assert refused(photo, ImageLimits(max_bytes=100)) == "image_too_large"
    assert refused(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == "animated_image"


def test_decoding_is_repeatable() -> None:
    photo = encoded(Image.effect_noise((90, 70), 80).convert("RGB"), "JPEG", quality=80)
    assert torch.equal(decode_image(photo, SPEC), decode_image(photo, SPEC))


def test_text_batch_cuts_chosen_rows_to_their_longest() -> None:
    batch = TextBatch.of([[1, 2], [1, 5, 6, 2], [1, 7, 2]], pad_id=0)
    assert batch.ids.tolist() == [[1, 2, 0, 0], [1, 5, 6, 2], [1, 7, 2, 0]]
    some = batch[torch.tensor([2, 0])]
    assert some.ids.tolist() == [[1, 7, 2], [1, 2, 0]] and some.lengths.tolist() == [3, 2]
