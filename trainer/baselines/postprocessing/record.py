"""The record of a run's post-processing: comparisons, the fitted numbers of the chosen rules, what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from trainer.evaluation import Comparison
from trainer.evaluation.comparison_record import System
from triggers.storage import write_atomically

POSTPROCESSING_FOLDER = "postprocessing"
"""Folder of the fitted rules inside the run's folder, one safetensors file per method."""


@dataclass(frozen=True, eq=False)
class PostProcessing:
    """Records of all methods and settings, the tensors of each method's chosen rule, and why a method was left out."""

    comparisons: tuple[Comparison, ...] = ()
    tensors: Mapping[System, Mapping[str, Tensor]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write the tensors into the run's folder."""
        for system, tensors in self.tensors.items():
            path = folder / POSTPROCESSING_FOLDER / f"{system}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, save({name: one.contiguous() for name, one in tensors.items()}))
