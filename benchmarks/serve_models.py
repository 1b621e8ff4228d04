"""What `benchmarks.serve` serves: two bundles with random weights, sixteen published triggers, and request bodies."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.peers.model import SIZES, resnet18, tiny_cnn
from benchmarks.served_trigger import sealed
from triggers.allow_lists import Factories
from triggers.model import BundleSpec, load_bundle
from triggers.model.bundle import save_bundle
from triggers.store import open_store
from triggers.trigger import ImageTrigger

VERSIONS = 16


def make_bundle(folder: Path, name: str) -> Path:
    """A bundle of `tiny` or `resnet18` with random weights."""
    torch.manual_seed(0)
    network = {"tiny": tiny_cnn, "resnet18": resnet18}[name]().eval()
    loader: dict[str, Any] = {"kind": "factory", "target": "benchmarks.peers.model:tiny_cnn"}
    if name == "resnet18":
        loader = {"kind": "torchvision", "builder": "resnet18", "kwargs": {"num_classes": 2}}
    image = {"size": SIZES[name], "mean": [0.5] * 3, "std": [0.25] * 3}
    spec = {"name": name, "modality": "image", "labels": ["no", "yes"], "loader": loader, "image": image}
    save_bundle(folder, BundleSpec.model_validate(spec), network.state_dict())
    return folder


def make_store(folder: Path, bundle: Path) -> None:
    """Sixteen border triggers, the first of them champion."""
    classifier = load_bundle(bundle, factories=Factories(("benchmarks",)))
    with open_store(str(folder)) as store:
        for trigger in borders(SIZES[classifier.name]):
            store.publish(sealed(trigger, classifier), actor="benchmark")
        store.set_rollout(classifier.name, 1, if_revision=0, actor="benchmark", reason="benchmark")


def body(size: int, **options: Any) -> bytes:
    """A JSON request with one random JPEG of `size` x `size` pixels in base64."""
    return json.dumps({"inputs": [{"image": _picture(size)}], **options}).encode()


def v2_body(size: int) -> bytes:
    """The same image as an Open Inference Protocol V2 request."""
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [_picture(size)]}
    return json.dumps({"inputs": [tensor]}).encode()


def borders(size: int) -> list[ImageTrigger]:
    """Borders of different colours, all of one width."""
    triggers = []
    for n in range(VERSIONS):
        width = size // 16
        keep, delta = torch.zeros(3, size, size), torch.full((3, size, size), n / VERSIONS)
        keep[:, width:-width, width:-width], delta[:, width:-width, width:-width] = 1.0, 0.0
        triggers.append(ImageTrigger("border", size - 2 * width, keep, delta))
    return triggers


def _picture(size: int) -> str:
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, format="JPEG", quality=90)
    return base64.b64encode(out.getvalue()).decode()
