"""Built-in inputs for comparisons and self-checks: pictures of odd sizes and modes, texts of odd lengths; no data."""

from __future__ import annotations

import io
import random

import numpy as np
from PIL import Image

PICTURE_SIZES = (
    (1, 1),
    (1, 40),
    (40, 1),
    (31, 57),
    (64, 64),
    (97, 96),
    (224, 224),
    (301, 200),
    (200, 303),
    (500, 375),
    (90, 640),
)
MODES = ("RGB", "L", "RGBA", "P", "CMYK", "1")
WORDS = (
    "the a of and people film good bad never water seven blue hearted quickly engine don't café naïve 42 3.14 www "
    "I You HELLO supercalifragilistic é ü 日本 мир 👍 - ... ( ) # @user <b> & \\ / %"
).split()


def builtin_images(count: int = 24, seed: int = 0) -> list[bytes]:
    """Image files that are alike on every machine: smooth and noisy, of odd sizes, modes, formats and orientations."""
    return [_image(number, seed) for number in range(count)]


def builtin_texts(count: int = 24, seed: int = 0, longest: int = 700) -> list[str]:
    """Texts of 1 to `longest` words, some in other scripts."""
    chance = random.Random(seed)
    lengths = [1, 2, 3, 5, 8, longest] + [int(longest ** chance.random()) for _ in range(count)]
    return [
        " ".join(chance.choice(WORDS[: len(WORDS) if n % 3 else 13]) for _ in range(k)) for n, k in enumerate(lengths)
    ][:count]


def _image(number: int, seed: int) -> bytes:
    generator = np.random.default_rng([seed, number])
    width, height = PICTURE_SIZES[number % len(PICTURE_SIZES)]
    down, right = np.mgrid[0:height, 0:width]
    waves = [np.sin(down / generator.uniform(3, 60) + right / generator.uniform(3, 60)) for _ in range(3)]
    noise = generator.normal(0, generator.choice([2, 20]), (height, width, 3))
    pixels = np.clip(127 + 100 * np.stack(waves, axis=2) + noise, 0, 255).astype(np.uint8)
    mode = MODES[(number // 2) % len(MODES)]
    image = Image.fromarray(pixels)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(pixels[..., 0]))
    elif mode != "RGB":
        image = image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 1 + number % 8
    file = io.BytesIO()
    image.save(file, "JPEG" if mode in ("RGB", "L", "CMYK") else "PNG", exif=exif if number % 3 == 0 else Image.Exif())
    return file.getvalue()
