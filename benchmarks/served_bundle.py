"""What a serving benchmark serves: a ResNet-18 of random weights as a bundle, 16 triggers of it, JPEG files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.served_trigger import sealed
from triggers.model import BundleSpec, load_bundle
from triggers.model.bundle import save_bundle
from triggers.store.file_store import FileStore
from triggers.trigger import ImageTrigger
from triggers.trigger.image_trainable import build_image_module

VERSIONS = 16


def bundle(folder: Path, side: int) -> Path:
    """A ResNet-18 for images of `side` pixels, named `bench`."""
    from torchvision.models import resnet18

    spec = {
        "name": "bench",
        "modality": "image",
        "labels": ["no", "yes"],
        "loader": {"kind": "torchvision", "builder": "resnet18", "kwargs": {"num_classes": 2}},
        "image": {"size": side, "mean": [0.5] * 3, "std": [0.25] * 3},
    }
    torch.manual_seed(0)
    save_bundle(folder, BundleSpec.model_validate(spec), resnet18(num_classes=2).state_dict())
    return folder


def triggers(kind: str, side: int) -> list[ImageTrigger]:
    """16 different ones: patches, which leave the image its size, or borders of a tenth of it, which do not."""
    options: dict[str, Any] = _size(kind, side)
    made = [
        build_image_module(kind, count=1, channels=3, size=side, seed=seed, **options).export()[0]
        for seed in range(VERSIONS)
    ]
    return [trigger for trigger in made if isinstance(trigger, ImageTrigger)]


def publish(store: FileStore, folder: Path, side: int) -> None:
    """v1 to v16 of `bench`, half of them patches and half borders; nobody champion."""
    classifier = load_bundle(folder)
    half = VERSIONS // 2
    for trigger in [*triggers("patch", side)[:half], *triggers("border", side)[:half]]:
        store.publish(sealed(trigger, classifier, **_size(trigger.kind, side)), actor="benchmark")


def files(side: int, count: int = 64) -> list[bytes]:
    """JPEG files of `side` pixels with structure at several scales, about as large as photographs."""
    made = []
    for seed in range(count):
        draw = np.random.default_rng(seed)
        layers = [
            np.asarray(
                Image.fromarray(draw.integers(0, 256, (cells, cells, 3), dtype=np.uint8)).resize(
                    (side, side), Image.Resampling.BICUBIC
                ),
                dtype=np.float64,
            )
            for cells in (4, 16, 64)
        ]
        pixels = np.average(layers, axis=0, weights=(0.6, 0.3, 0.1)).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=90)
        made.append(out.getvalue())
    return made


def _size(kind: str, side: int) -> dict[str, int]:
    return {"width": max(1, side // 11)} if kind == "border" else {"patch_size": max(2, side // 3)}
