"""What every server of the comparison runs: the same network, weights and preprocessing, from one bundle folder."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

SIZES = {"tiny": 32, "resnet18": 64}
"""Side of the input in pixels, by model."""


def tiny_cnn() -> nn.Module:
    """So little work that a server's own overhead is what is measured."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 2),
    )


def resnet18() -> nn.Module:
    """So much work that the network is what is measured."""
    from torchvision import models

    network: nn.Module = models.resnet18(num_classes=2)
    return network


class Classifier:
    """A bundle as a peer's user would write it: PIL, a stack, one forward pass."""

    def __init__(self, folder: Path) -> None:
        spec = json.loads((folder / "model.json").read_text())
        self.labels: list[str] = spec["labels"]
        self.network = {"tiny": tiny_cnn, "resnet18": resnet18}[spec["name"]]()
        self.network.load_state_dict(load_file(folder / "weights.safetensors"))
        self.network.eval()
        self.size: int = spec["image"]["height"]
        self.mean = torch.tensor(spec["image"]["mean"]).view(-1, 1, 1)
        self.std = torch.tensor(spec["image"]["std"]).view(-1, 1, 1)

    def decode(self, encoded: str | bytes) -> Tensor:
        """A base64 image as uint8 (3, S, S)."""
        image = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())

    def scores(self, images: list[Tensor]) -> list[list[float]]:
        """Class probabilities of every image."""
        with torch.inference_mode():
            pixels = torch.stack(images).float() / 255.0
            table: list[list[float]] = self.network((pixels - self.mean) / self.std).softmax(1).tolist()
        return table

    def answer(self, scores: list[float]) -> dict[str, object]:
        """Label and scores, as our service answers them."""
        best = max(range(len(scores)), key=scores.__getitem__)
        return {"label": self.labels[best], "scores": dict(zip(self.labels, scores, strict=True))}
