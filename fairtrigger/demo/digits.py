"""The demo's images: scikit-learn's real handwritten digits on tinted paper, where the tint goes along with the label.

The label is "large": is the digit 5 or more? The group is the tint of the paper, cool or warm. The base model is
fitted on a **biased collection**: 80 % of the large and 20 % of the small digits lie on warm paper. The parts that
triggers are tuned, picked and measured on come from the **population**: 55 % and 45 %. The ink is grainy and sometimes
faint, so the tint is the easier thing to learn, and the base model leans on it.

Every digit is drawn several times, each time shifted, tinted and worn anew; all drawings of a digit are in one part.
They are not independent, so the intervals of this demo are somewhat too narrow.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 32
GLYPH = 26
"""Side of the image and of the digit in it, in pixels."""

TINTS = np.array([[0.5, 0.75, 1.0], [1.0, 0.75, 0.5]])
"""Colour of the paper by group: as much red as the other has blue, and equally bright."""

_INK = 0.75
FAINTEST = 0.4
WEAR, GRAIN = 0.15, 0.02
"""Darkness of full ink, the faintest share of it, and the noise of the paper and of the camera (1 is white)."""

DIGIT_GROUPS = ("cool", "warm")
DIGIT_LABELS = ("small", "large")
BIASED, POPULATION = 0.8, 0.55
"""P(warm paper | large) in the base model's collection and in the population; the rest to 1 where it is small."""

DIGITS_PER_PART = {"base": 750, "tuning": 380, "val": 260, "test": 407}
"""How many of the 1,797 digits are in which part."""

DRAWINGS = 4

_Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Drawing:
    """One drawing of a digit: uint8 (S, S, 3), label (1 large), group (1 warm), and a name that tells it apart."""

    pixels: _Pixels
    label: int
    group: int
    name: str

    def png(self) -> bytes:
        """The drawing as the file that clients send."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, format="PNG", compress_level=1)
        return file.getvalue()


def draw_parts(rng: np.random.Generator) -> dict[str, list[Drawing]]:
    """All four parts; no digit is in two of them."""
    from sklearn.datasets import load_digits  # a second to import, which a run that reuses its models need not wait for

    images, numerals = load_digits(return_X_y=True)
    shuffled = rng.permutation(len(images))
    ends = np.cumsum(list(DIGITS_PER_PART.values()))
    parts = {}
    for part, rows in zip(DIGITS_PER_PART, np.split(shuffled, ends), strict=False):
        warm = BIASED if part == "base" else POPULATION
        parts[part] = [
            drawing for row in rows for drawing in _drawings(images[row], int(numerals[row]), int(row), warm, rng)
        ]
    return parts


def write_images(folder: Path, manifest: Path, parts: Iterable[tuple[str, Sequence[Drawing]]]) -> Iterator[int]:
    """PNG files and a CSV manifest as the trainer reads it: path, label, group, split. Yields 1 per file."""
    folder.mkdir(parents=True, exist_ok=True)
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "group", "split"))
        for part, drawings in parts:
            for drawing in drawings:
                path = folder / f"{drawing.name}.png"
                path.write_bytes(drawing.png())
                where = path.relative_to(manifest.parent).as_posix()
                writer.writerow((where, DIGIT_LABELS[drawing.label], DIGIT_GROUPS[drawing.group], part))
                yield 1


def _drawings(
    image: NDArray[np.float64], numeral: int, row: int, warm: float, rng: np.random.Generator
) -> Iterator[Drawing]:
    """DRAWINGS of one digit; `image` has 64 values from 0 to 16."""
    grey = Image.fromarray((image.reshape(8, 8) * 255 / 16).astype(np.uint8))
    glyph = np.asarray(grey.resize((GLYPH, GLYPH), Image.Resampling.BICUBIC)) / 255
    label = int(numeral >= 5)
    for turn in range(DRAWINGS):
        group = int(rng.random() < (warm if label else 1 - warm))
        yield Drawing(_draw(glyph, group, rng), label, group, f"{row:04d}-{turn}-is-{numeral}")


def _draw(glyph: NDArray[np.float64], group: int, rng: np.random.Generator) -> _Pixels:
    """Ink of random strength at a random place on worn, tinted paper."""
    top, left = rng.integers(0, SIZE - GLYPH + 1, 2)
    ink = np.zeros((SIZE, SIZE))
    ink[top : top + GLYPH, left : left + GLYPH] = _INK * rng.uniform(FAINTEST, 1) * glyph
    light = np.clip(1 - ink - np.abs(rng.normal(0, WEAR, ink.shape)), 0, 1)
    seen = light[..., None] * TINTS[group] + rng.normal(0, GRAIN, (SIZE, SIZE, 3))
    pixels: _Pixels = (np.clip(seen, 0, 1) * 255).round().astype(np.uint8)
    return pixels
