"""Outputs of a frozen model for tests of post-processing, without a model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.data.dataset import Dataset


def frozen(
    scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, features: ArrayLike | None = None, *, names: str = "ab"
) -> FrozenOutputs:
    """Outputs of N rows: the lead (N,) of label 1, or logits (N, labels); one group per letter of `names`."""
    given = torch.as_tensor(np.asarray(scores)).float()
    logits = torch.stack([torch.zeros_like(given), given], dim=1) if given.ndim == 1 else given
    seen = logits if features is None else torch.as_tensor(np.asarray(features)).float()
    data = Dataset(
        torch.empty(len(logits), 0, dtype=torch.uint8),
        torch.as_tensor(np.asarray(labels)).long(),
        torch.as_tensor(np.asarray(groups)).long(),
        (),
        tuple(f"label {n}" for n in range(logits.shape[1])),
        tuple(names),
    )
    return FrozenOutputs(data, seen, logits, logits.argmax(dim=1))
