"""Tiny folders of `transformers`, as their owners have them, for tests of `fairtrigger wrap`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import ResNetConfig, ResNetForImageClassification
from transformers.utils import logging as transformers_logging

from tests.bundles import multi_label_bundle, text_bundle
from triggers.model.bundle import SPEC_FILE

CROPPED = {
    "image_processor_type": "ConvNextImageProcessor",
    "size": {"shortest_edge": 32},
    "crop_pct": 0.875,
    "resample": 3,
}
"""The shorter edge to 36 pixels by the bicubic filter, then the centre, 32 x 32."""
NAMES = {0: "plain", 1: "attractive"}


def resnet_folder(folder: Path, processor: dict[str, Any] | None = None, sharpness: float = 5, **config: Any) -> Path:
    """A ResNet of two stages that looks at the centre's details, and its preprocessor_config.json."""
    torch.manual_seed(0)
    transformers_logging.disable_progress_bar()
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    network: Any = ResNetForImageClassification(ResNetConfig(**{**sizes, "id2label": NAMES, **config}))
    with torch.no_grad():
        network.classifier[1].weight.mul_(sharpness)
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(CROPPED if processor is None else processor))
    return folder


def bert_folder(folder: Path) -> Path:
    """A two-layer BERT whose labels are LABEL_0 and LABEL_1."""
    (text_bundle(folder) / SPEC_FILE).unlink()
    return folder


def toxicity_folder(folder: Path) -> Path:
    """A two-layer BERT of six independent sigmoids."""
    (multi_label_bundle(folder, None) / SPEC_FILE).unlink()
    return folder


def changed_config(folder: Path, **change: Any) -> Path:
    """The folder, its config.json changed; None takes a key out."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return folder
