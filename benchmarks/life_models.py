"""A network whose forward pass takes a known time without using a core, so that a service's capacity is known."""

from __future__ import annotations

import base64
import io
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from triggers.model import BundleSpec
from triggers.model.bundle import save_bundle

SIDE = 16


class Sleeping(nn.Module):
    """Two labels from mean colours, `seconds` late."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.seconds = seconds

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2) of images (N, 3, H, W)."""
        time.sleep(self.seconds)
        logits: Tensor = self.linear(images.mean(dim=(2, 3)))
        return logits


def sleeping_bundle(folder: Path, seconds: float) -> Path:
    """A bundle `faces` that takes `seconds` per batch, whatever its size."""
    torch.manual_seed(0)
    spec = {
        "name": "faces",
        "modality": "image",
        "labels": ["no", "yes"],
        "loader": {"kind": "factory", "target": "benchmarks.life_models:Sleeping", "kwargs": {"seconds": seconds}},
        "image": {"size": SIDE, "mean": [0.5] * 3, "std": [0.25] * 3},
    }
    save_bundle(folder, BundleSpec.model_validate(spec), Sleeping(seconds).state_dict())
    return folder


def picture() -> bytes:
    """A JPEG of random colours."""
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, format="JPEG")
    return out.getvalue()


def body(**fields: object) -> bytes:
    """One picture as a predict request in JSON."""
    return json.dumps({"inputs": [{"image": base64.b64encode(picture()).decode()}]} | fields).encode()
