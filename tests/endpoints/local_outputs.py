"""What a stranger's server computes: outputs of a local model for pixels, picture files or texts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from triggers.model.classifier import FrozenClassifier
from triggers.model.reprogram import sweep

Table = NDArray[np.float32]


def pixel_outputs(model: FrozenClassifier, pixels: NDArray[Any]) -> Table:
    """Logits of pixels (N, C, H, W) from 0 to 255."""
    with torch.no_grad():
        found: Table = model.image_logits(torch.from_numpy(pixels.astype(np.float32)) / 255).numpy()
    return found


def float_outputs(model: FrozenClassifier, pixels: NDArray[Any]) -> Table:
    """Logits of pixels (N, C, H, W) after mean and std."""
    with torch.no_grad():
        found: Table = model.network(torch.from_numpy(pixels.astype(np.float32))).numpy()
    return found


def file_outputs(model: FrozenClassifier, files: Sequence[bytes]) -> Table:
    """Logits of picture files of the model's own size."""
    return pixel_outputs(model, np.stack([file_pixels(each) for each in files]))


def file_pixels(file: bytes) -> NDArray[np.uint8]:
    """A picture file as (C, H, W)."""
    array = np.asarray(Image.open(io.BytesIO(file)))
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def text_outputs(model: FrozenClassifier, texts: Sequence[str]) -> Table:
    """Logits of texts."""
    with torch.no_grad():
        batch = model.batch([model.preprocess(each) for each in texts])
        found: Table = sweep(model, batch, model.bank([model.null_trigger()]))[0].numpy()
    return found


def softmax(logits: Table) -> Table:
    """Scores of logits."""
    found: Table = torch.from_numpy(logits).softmax(dim=1).numpy()
    return found
