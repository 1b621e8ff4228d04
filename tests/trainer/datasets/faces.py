"""A small data set of real JPEG files in CelebA's own layout, as a folder or as a tar file of it.

Every picture is one colour with noise: bright ones are labelled `Attractive`, reddish ones `Male`.
"""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

from PIL import Image
from torch import nn

ATTRIBUTES = ("Attractive", "Male", "Young")


def jpeg(draw: random.Random, bright: bool, red: bool, size: tuple[int, int] = (22, 28)) -> bytes:
    """One picture as a JPEG file."""
    level = draw.randint(150, 200) if bright else draw.randint(40, 90)
    colour = (level + 40, level, level) if red else (level, level, level + 40)
    image = Image.new("RGB", size, colour)
    for _ in range(20):
        image.putpixel((draw.randrange(size[0]), draw.randrange(size[1])), (draw.randrange(256),) * 3)
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=95)
    return out.getvalue()


def celeba(folder: Path, train: int = 60, val: int = 20, test: int = 20, seed: int = 0) -> Path:
    """Write the layout into `folder`; every attribute holds on half of the rows, independently."""
    draw = random.Random(seed)
    (folder / "img_align_celeba").mkdir(parents=True)
    count = train + val + test
    attributes, partition = [str(count), " ".join(ATTRIBUTES) + " "], []
    for number in range(count):
        name = f"{number + 1:06}.jpg"
        values = [draw.random() < 0.5 for _ in ATTRIBUTES]
        (folder / "img_align_celeba" / name).write_bytes(jpeg(draw, values[0], values[1]))
        attributes.append(f"{name} " + " ".join(" 1" if value else "-1" for value in values))
        partition.append(f"{name} {0 if number < train else 1 if number < train + val else 2}")
    (folder / "list_attr_celeba.txt").write_text("\n".join(attributes) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    return folder


def packed(folder: Path, mode: str = "w") -> Path:
    """The folder as a tar file beside it, below its own name as a leading folder."""
    path = folder.with_suffix(".tar")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, arcname=folder.name)
    return path


def network() -> nn.Module:
    """A small CNN for 16 x 16 pictures; the builder of runs on these pictures."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
