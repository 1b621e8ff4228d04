"""Fits the demo's image classifier: three convolutions from scratch, small enough for a CPU, then frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR

from fairtrigger.demo.digits import DIGIT_LABELS, SIZE, Drawing
from triggers.model import BundleSpec
from triggers.model.bundle import save_bundle

CNN_STEPS, _BATCH, _LR = 350, 64, 2e-3
MEAN, STD = 0.5, 0.25


def small_cnn(labels: int = 2) -> nn.Sequential:
    """Images (N, 3, 32, 32), normalised, to logits (N, labels). The bundle names this function as its factory."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (SIZE // 8) ** 2, 32),
        nn.ReLU(),
        nn.Linear(32, labels),
    )


def fit_cnn(
    folder: Path, made: Sequence[Drawing], seed: int, advance: Callable[[int], object] = lambda done: None
) -> None:
    """Fit on the biased collection and write the bundle; `advance(1)` hears of every one of CNN_STEPS steps."""
    save_bundle(folder, _spec(), fitted_cnn(made, seed, advance).state_dict())


def fitted_cnn(
    made: Sequence[Drawing], seed: int, advance: Callable[[int], object] = lambda done: None
) -> nn.Sequential:
    """The network, fitted on the biased collection."""
    torch.manual_seed(seed)
    network = small_cnn()
    images = torch.from_numpy(np.stack([drawing.pixels for drawing in made])).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor([drawing.label for drawing in made])
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=0.05)
    schedule = OneCycleLR(optimizer, _LR, total_steps=CNN_STEPS)
    for _ in range(CNN_STEPS):
        rows = torch.randint(len(made), (_BATCH,))
        pixels = (images[rows].float() / 255 - MEAN) / STD
        optimizer.zero_grad()
        cross_entropy(network(pixels), labels[rows]).backward()
        optimizer.step()
        schedule.step()
        advance(1)
    return network


def _spec() -> BundleSpec:
    return BundleSpec.model_validate(
        {
            "name": "digits",
            "modality": "image",
            "labels": DIGIT_LABELS,
            "loader": {"kind": "factory", "target": f"{__name__}:{small_cnn.__name__}"},
            "image": {"size": SIZE, "mean": [MEAN] * 3, "std": [STD] * 3},
            "description": "Small CNN fitted on a biased collection of tinted digits: is the digit 5 or more?",
        }
    )
