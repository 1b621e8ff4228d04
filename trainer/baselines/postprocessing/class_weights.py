"""Weights of labels under which a loss counts what the selection's measure counts."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.config.run_config import Measure


def class_weights(labels: Tensor, count: int, measure: Measure) -> Tensor:
    """Weights (count,), float64, of mean 1 over the rows: all labels count alike for balanced accuracy, rows otherwise.

    A label without rows gets 0 where labels count alike.
    """
    if measure != "balanced_accuracy":
        return torch.ones(count, dtype=torch.float64)
    sizes = torch.bincount(labels, minlength=count).double()
    return torch.where(sizes > 0, len(labels) / (sizes.clamp(min=1) * (sizes > 0).sum()), 0.0)
