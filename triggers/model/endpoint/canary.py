"""The canary of an endpoint: inputs and the outputs that they had when the bundle was made, its model's fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from triggers.errors import ModelError
from triggers.fingerprint import tensors_digest
from triggers.model.endpoint.endpoint_loader import CANARY_FILE


@dataclass(frozen=True, eq=False)
class Canary:
    """Inputs: pictures (N, C, H, W) uint8, or texts as bytes (N, L) with their lengths; outputs (N, O) float32."""

    inputs: Mapping[str, Tensor]
    outputs: Tensor

    def save(self, folder: Path) -> None:
        """Write the file."""
        save_file({**self.inputs, "outputs": self.outputs}, folder / CANARY_FILE)

    @classmethod
    def load(cls, folder: Path) -> Canary:
        """Read the file. Raises ModelError."""
        try:
            tensors = load_file(folder / CANARY_FILE)
            return cls({name: each for name, each in tensors.items() if name != "outputs"}, tensors["outputs"])
        except (OSError, SafetensorError, KeyError) as error:
            raise ModelError(
                f"{folder / CANARY_FILE} cannot be read: run `fairtrigger wrap` again ({error})."
            ) from error

    def digest(self, fields: Mapping[str, Any]) -> str:
        """The fingerprint of the model: what it answered, and what else decides its scores.

        Outputs count to three digits, so that a model has one fingerprint wherever and however often it is wrapped.
        """
        rounded = [[f"{value + 0.0:.2e}" for value in row] for row in self.outputs.double().tolist()]
        return tensors_digest(self.inputs, {**fields, "outputs": rounded})

    def difference(self, now: Tensor) -> float:
        """Largest difference of an output; infinity where the shape changed."""
        if now.shape != self.outputs.shape:
            return torch.inf
        return float((now - self.outputs).abs().max())
