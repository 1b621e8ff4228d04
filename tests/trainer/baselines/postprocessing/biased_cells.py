"""Synthetic outputs with a gap between groups: features that tell label and group, and a score that takes sides."""

from __future__ import annotations

import torch

from tests.trainer.baselines.postprocessing.frozen import frozen
from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs


def biased_cells(rows: int, seed: int = 0, *, labels: int = 2, groups: int = 2, width: int = 8) -> FrozenOutputs:
    """Label and group depend on each other; the model's score reads both, twice as sure as it may be."""
    draw = torch.Generator().manual_seed(seed)
    group = torch.randint(groups, (rows,), generator=draw)
    anyhow, alike = torch.randint(labels, (rows,), generator=draw), torch.rand(rows, generator=draw) < 0.4
    label = torch.where(alike, group % labels, anyhow)
    features = torch.randn(rows, width, generator=draw)
    features[:, :labels] += 1.5 * torch.nn.functional.one_hot(label, labels)
    features[:, labels : labels + groups] += 1.5 * torch.nn.functional.one_hot(group, groups)
    sides = torch.zeros(rows, labels)
    sides[:, -1] = 0.8 * (features[:, labels] - features[:, labels + groups - 1])
    return frozen(2 * (features[:, :labels] + sides), label, group, features, names="abcdef"[:groups])
