"""The check that a network answers each row of a batch as if it were alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from triggers.errors import ModelError

TRIED_ROWS = 3
SAME_ANSWER = 1e-4
"""Largest difference that counts as rounding, for answers of about 1."""


def check_rows(network: nn.Module, row: Sequence[int]) -> None:
    """Raise ModelError unless rows (N, *row) get the same answers together as each alone, up to rounding."""
    weight = next(network.parameters(), torch.empty(0))
    rows = torch.rand(TRIED_ROWS, *row, generator=torch.Generator().manual_seed(0)).to(weight.device)
    with torch.no_grad():
        together = network(rows).float()
        alone = torch.cat([network(rows[number : number + 1]) for number in range(TRIED_ROWS)]).float()
    most = max(SAME_ANSWER, 4 * torch.finfo(weight.dtype).eps) * max(1.0, float(alone.abs().max()))
    if together.shape != alone.shape or not bool((together - alone).abs().max() <= most):
        raise ModelError("Rows of one batch change each other's answers: export the network with a dynamic batch.")
