"""Tinted digits again, with more than two groups, groups that overlap, or more than two labels.

As in `digits`, a shortcut goes with the label where the classifier is fitted, and nowhere else: every gap is the
classifier's own.

overlap   two attributes, each on its own: a red tint and a bright frame; a drawing may have both or none
three     three tints that exclude each other: red for low digits, blue for high ones, green for either
four      four labels by range of digits, two tints: red for the lower two labels, blue for the upper two
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tests.trainer.datasets import digits
from trainer.data.dataset import Dataset, Splits
from triggers.model import FrozenClassifier, load_bundle

Codes = NDArray[np.int64]
Pixels = NDArray[np.float64]
Problem = Literal["overlap", "three", "four"]
PROBLEMS: tuple[Problem, ...] = ("overlap", "three", "four")
LABELS = {"overlap": ("low", "high"), "three": ("low", "high"), "four": ("0 to 2", "3 or 4", "5 to 7", "8 or 9")}
GROUPS = {
    "overlap": ("none", "tinted", "framed", "tinted + framed"),
    "three": ("red", "green", "blue"),
    "four": ("red", "blue"),
}
IDENTITIES = {"overlap": ("tinted", "framed"), "three": GROUPS["three"], "four": GROUPS["four"]}
RED, GREEN, BLUE, WHITE = (1.0, 0.4, 0.4), (0.4, 1.0, 0.4), (0.4, 0.4, 1.0), (0.8, 0.8, 0.8)


def parts(problem: Problem, seed: int = 0) -> dict[str, Dataset]:
    """All 1797 digits, shuffled, painted and cut into the four parts of `digits`."""
    (images, target), random = digits.drawings(), np.random.default_rng(seed)
    order, made = random.permutation(len(target)), {}
    for name, rows in zip(digits.PARTS, np.split(order, np.cumsum([*digits.PARTS.values()])[:-1]), strict=True):
        labels = np.digitize(target[rows], [3, 5, 8]) if problem == "four" else target[rows] // 5
        groups = _groups(problem, labels, name == "base", random)
        pixels = _painted(problem, _faint(images[rows] / 16.0, random), groups)
        made[name] = Dataset(
            torch.from_numpy((pixels * 255).round().astype(np.uint8)),
            torch.from_numpy(labels.astype(np.int64)),
            torch.from_numpy(groups.astype(np.int64)),
            tuple(f"digit-{row}" for row in rows),
            LABELS[problem],
            GROUPS[problem],
            IDENTITIES[problem],
        )
    return made


def splits(problem: Problem, seed: int = 0) -> Splits:
    """What a trigger is tuned, picked and judged on."""
    made = parts(problem, seed)
    return Splits(made["tuning"], made["val"], made["test"])


def fitted(problem: Problem, folder: Path, seed: int = 0) -> FrozenClassifier:
    """A small CNN that learned the shortcut, frozen."""
    return load_bundle(digits.fit_on(parts(problem, seed)["base"], folder, seed))


def _groups(problem: Problem, labels: Codes, biased: bool, random: np.random.Generator) -> Codes:
    """Group codes; `biased`, they follow the labels nine times in ten."""
    upper = labels // 2 if problem == "four" else labels
    follow = random.random((2, len(labels))) < (0.9 if biased else 0.5)
    if problem == "four":
        return np.asarray(np.where(follow[0], upper, 1 - upper))
    if problem == "overlap":
        tinted, framed = np.where(follow, upper, 1 - upper)
        return np.asarray(tinted + 2 * framed)
    own, green = 2 * upper, np.ones_like(upper)
    choice = random.random(len(labels))
    limits = (0.8, 0.9) if biased else (1 / 3, 2 / 3)
    return np.asarray(np.where(choice < limits[0], own, np.where(choice < limits[1], green, 2 - own)))


def _faint(grey: Pixels, random: np.random.Generator) -> Pixels:
    """Drawings under noise, so that a classifier has a reason to look at the shortcut."""
    return np.asarray(np.clip(0.5 * grey + random.uniform(0, 0.5, grey.shape), 0, 1))


def _painted(problem: Problem, grey: Pixels, groups: Codes) -> Pixels:
    """Grey drawings (N, 8, 8) in [0, 1] to colour pictures (N, 3, 16, 16)."""
    tints = {"overlap": (WHITE, RED, WHITE, RED), "three": (RED, GREEN, BLUE), "four": (RED, BLUE)}[problem]
    large = np.kron(grey, np.ones((1, 2, 2)))
    pictures = large[:, None] * np.array(tints)[groups][:, :, None, None]
    if problem == "overlap":
        frame = np.ones((digits.SIZE, digits.SIZE), dtype=bool)
        frame[1:-1, 1:-1] = False
        pictures[:, 2, frame] = np.maximum(pictures[:, 2, frame], 0.6 * (groups // 2)[:, None])
    return np.asarray(pictures)
