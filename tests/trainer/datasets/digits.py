"""Real images with a known shortcut: scikit-learn's handwritten digits in one of two colours, the group.

The label is digit >= 5. Where the classifier is fitted, nine in ten colours follow the label, so it learns to look at
the colour; where triggers are tuned and judged, the colour says nothing, so every gap is the classifier's own.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from trainer.data.dataset import Dataset, Splits
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.bundle import BundleSpec, save_bundle

SIZE = 16
TINTS = ((1.0, 0.4, 0.4), (0.4, 0.4, 1.0))
GROUPS = ("red", "blue")
LABELS = ("low", "high")
PARTS = {"base": 750, "tuning": 350, "val": 350, "test": 347}


def network(labels: int = 2) -> nn.Module:
    """A small CNN for 16 x 16 colour images; the target of the bundle's factory loader."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, labels),
    )


@cache
def drawings() -> tuple[np.ndarray, np.ndarray]:
    """Grey drawings (1797, 8, 8) from 0 to 16, and their digits, to be read only."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images, found.target


@cache
def parts(seed: int = 0) -> dict[str, Dataset]:
    """All 1797 digits, shuffled, tinted and cut into the four parts, to be read only."""
    images, target = drawings()
    random = np.random.default_rng(seed)
    order = random.permutation(len(target))
    start, made = 0, {}
    for name, size in PARTS.items():
        rows = order[start : start + size]
        start += size
        follow = 0.9 if name == "base" else 0.5
        made[name] = _tinted(images[rows], target[rows], follow, random, rows)
    return made


def _tinted(
    grey: np.ndarray, digits: np.ndarray, follow: float, random: np.random.Generator, rows: np.ndarray
) -> Dataset:
    labels = (digits >= 5).astype(np.int64)
    groups = np.where(random.random(len(labels)) < follow, labels, 1 - labels)
    large = np.kron(grey / 16.0, np.ones((1, SIZE // 8, SIZE // 8)))
    pixels = large[:, None] * np.array(TINTS)[groups][:, :, None, None] * 255
    ids = tuple(f"digit-{row}" for row in rows)
    inputs = torch.from_numpy(pixels.round().astype(np.uint8))
    return Dataset(inputs, torch.from_numpy(labels), torch.from_numpy(groups), ids, LABELS, GROUPS)


def splits(seed: int = 0) -> Splits:
    """What a trigger is tuned, picked and judged on."""
    made = parts(seed)
    return Splits(made["tuning"], made["val"], made["test"])


def write_csv(folder: Path, names: tuple[str, ...] = ("tuning", "val", "test")) -> Path:
    """Write some parts as PNG files and their manifest `digits.csv` with columns path, label, colour and split."""
    with (folder / "digits.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "colour", "split"])
        for part in names:
            data = parts()[part]
            assert isinstance(data.inputs, Tensor)
            for pixels, label, group, name in zip(data.inputs, data.labels, data.groups, data.ids, strict=True):
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{name}.png")
                table.writerow([f"{name}.png", LABELS[label], GROUPS[group], part])
    return folder / "digits.csv"


def fit_bundle(folder: Path, seed: int = 0, epochs: int = 30) -> Path:
    """Fit the CNN on the base part and save it as a bundle."""
    return fit_on(parts(seed)["base"], folder, seed, epochs)


def fit_on(base: Dataset, folder: Path, seed: int = 0, epochs: int = 30) -> Path:
    """Fit the CNN on any digits of this size and save it as a bundle."""
    torch.manual_seed(seed)
    model = network(len(base.label_names))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    inputs = _normalised(base)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(base)), 64):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(model(inputs[rows]), base.labels[rows]))
            optimizer.step()
    spec = {
        "name": "digits",
        "modality": "image",
        "labels": list(base.label_names),
        "loader": {
            "kind": "factory",
            "target": "tests.trainer.datasets.digits:network",
            "kwargs": {"labels": len(base.label_names)},
        },
        "image": {"size": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3},
    }
    save_bundle(folder, BundleSpec.model_validate(spec), model.state_dict())
    return folder


def fitted(folder: Path, seed: int = 0) -> FrozenClassifier:
    """The fitted classifier, frozen."""
    return load_bundle(fit_bundle(folder, seed))


def _normalised(data: Dataset) -> Tensor:
    assert isinstance(data.inputs, Tensor)
    return (data.inputs / 255.0 - 0.5) / 0.25
