"""Images a core prepares for a network of 224 pixels: JPEG, bicubic resize of the shorter edge to 256, centre crop.

`python -m benchmarks.preprocessing` prints a table, of processor time: our steps by either library beside the library's
own calls on pictures that Pillow decoded, whose pixels must be the same. Photos are drawn: smooth and grainy.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, functional, v2
from torchvision.transforms.functional import pil_to_tensor

from triggers.preprocessing.image_spec import CenterCrop, ImageSpec, Resize
from triggers.preprocessing.preprocess import decode_image

EDGE, SIDE = 256, 224
SIZES = ((320, 400), (375, 500), (500, 375))
"""Heights and widths of the photos."""
CELL, GRAIN = 16, 6.0
"""Pixels of one smooth patch; standard deviation of the grain in grey levels."""

Prepare = Callable[[bytes], Tensor]


def photo(height: int, width: int, seed: int) -> bytes:
    """A JPEG file of quality 90, of about the size of a photograph's."""
    draw = np.random.default_rng(seed)
    cells = draw.integers(0, 256, (height // CELL, width // CELL, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    grainy = (smooth + draw.normal(0, GRAIN, smooth.shape)).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grainy).save(out, "JPEG", quality=90)
    return out.getvalue()


def steps(library: Literal["pil", "torchvision", "torchvision_v1"]) -> ImageSpec:
    """The image input in question, by one library."""
    resize = Resize(shorter_edge=EDGE, interpolation="bicubic", library=library)
    return ImageSpec(SIDE, SIDE, (0.5,) * 3, (0.5,) * 3, (resize, CenterCrop(SIDE, SIDE)))


def by_pil(data: bytes) -> Tensor:
    """The same by Pillow alone."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    short = min(image.size)
    image = image.resize((EDGE * image.width // short, EDGE * image.height // short), Image.Resampling.BICUBIC)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return torch.from_numpy(np.array(image.crop((left, top, left + SIDE, top + SIDE)))).permute(2, 0, 1)


def by_torchvision(data: bytes, resize: Callable[..., Tensor]) -> Tensor:
    """The same by a function of torchvision on a picture that Pillow decoded."""
    pixels: Tensor = pil_to_tensor(Image.open(io.BytesIO(data)).convert("RGB"))
    pixels = resize(pixels, [EDGE], InterpolationMode.BICUBIC)
    top, left = (pixels.shape[1] - SIDE) // 2, (pixels.shape[2] - SIDE) // 2
    return pixels[:, top : top + SIDE, left : left + SIDE].contiguous()


WAYS: Mapping[str, tuple[Prepare, Prepare]] = {
    "torchvision": (
        partial(decode_image, spec=steps("torchvision")),
        partial(by_torchvision, resize=v2.functional.resize),
    ),
    "torchvision_v1": (
        partial(decode_image, spec=steps("torchvision_v1")),
        partial(by_torchvision, resize=functional.resize),
    ),
    "pil": (partial(decode_image, spec=steps("pil")), by_pil),
}
"""Our steps and the library's own calls, by library."""


def milliseconds(ways: Sequence[Prepare], data: bytes, rounds: int) -> list[float]:
    """Median processor time of each, taken in turns."""
    taken = np.empty((rounds, len(ways)))
    for turn in range(rounds):
        for at, prepare in enumerate(ways):
            started = time.thread_time()
            prepare(data)
            taken[turn, at] = 1000 * (time.thread_time() - started)
    return [float(value) for value in np.median(taken, axis=0)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table. Raises RuntimeError if pixels differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args(arguments).rounds
    torch.set_num_threads(1)
    print("| photo | KB | library of the resize | ms | images/s a core | its own calls, ms | PIL's, ms | of PIL's |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for seed, (height, width) in enumerate(SIZES):
        data = photo(height, width, seed)
        for ours, theirs in WAYS.values():
            if not torch.equal(ours(data), theirs(data)):
                raise RuntimeError("The pixels are not the library's.")
        pairs = [prepare for pair in WAYS.values() for prepare in pair]
        taken = milliseconds(pairs, data, rounds)
        for at, library in enumerate(WAYS):
            own, others, pil = taken[2 * at], taken[2 * at + 1], taken[-1]
            cells = (f"{width} x {height}", f"{len(data) / 1024:.0f}", library, f"{own:.2f}", f"{1000 / own:.0f}")
            print("|", " | ".join((*cells, f"{others:.2f}", f"{pil:.2f}", f"{own / pil:.2f}")), "|")


if __name__ == "__main__":
    main()
