"""Photos of odd sizes, formats and turns, and texts of odd lengths; real ones where there are any, by a seed."""

from __future__ import annotations

import csv
import io
import random
import tarfile

from PIL import Image

from tests.real_data import SHARED
from triggers.sources.builtin_inputs import builtin_images, builtin_texts

PHOTOS, POSTS = SHARED / "data" / "celeba10k.tar", SHARED / "data" / "hatexplain.csv"
FORMATS = ("JPEG", "JPEG", "JPEG", "PNG", "WEBP")
MODES = ("RGB", "RGB", "RGB", "L", "CMYK", "RGBA")


def odd_images(count: int, seed: int = 0) -> list[bytes]:
    """Photos cut, scaled and encoded anew by a seed; where there are none, pictures that are drawn."""
    if not PHOTOS.is_file():
        return builtin_images(count, seed + 1)
    drawn, files = random.Random(seed), []
    with tarfile.open(PHOTOS) as archive:
        for member in archive:
            if member.name.endswith(".jpg"):
                file = archive.extractfile(member)
                assert file
                files.append(_changed(file.read(), drawn))
            if len(files) == count:
                break
    return files


def _changed(data: bytes, drawn: random.Random) -> bytes:
    """Another picture made of a photo."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    left, top = drawn.randrange(width // 3), drawn.randrange(height // 3)
    image = image.crop((left, top, width - drawn.randrange(width // 3), height - drawn.randrange(height // 3)))
    side, aspect = 16 * 40 ** drawn.random(), 2 ** drawn.uniform(-1, 1)
    size = max(1, round(side * aspect)), max(1, round(side / aspect))
    image = image.resize(size, Image.Resampling.BICUBIC).convert(drawn.choice(MODES))
    kind = "PNG" if image.mode == "RGBA" else "JPEG" if image.mode == "CMYK" else drawn.choice(FORMATS)
    exif = Image.Exif()
    exif[0x0112] = drawn.randrange(1, 9)
    file = io.BytesIO()
    image.save(file, kind, quality=drawn.randrange(40, 96), exif=exif if drawn.random() < 0.3 else Image.Exif())
    return file.getvalue()


def mixed_texts(count: int, seed: int = 0) -> list[str]:
    """Posts, and among them made-up texts of very different lengths."""
    made = builtin_texts(count, seed + 1)
    if not POSTS.is_file():
        return made
    drawn = random.Random(seed)
    with POSTS.open(encoding="utf-8", newline="") as file:
        posts = [row["text"] for row in csv.DictReader(file) if row["text"].strip()]
    return drawn.sample(posts, count - count // 4) + made[: count // 4]
