"""Low spatial frequencies: the few numbers of an image trigger that is learned where every direction costs queries."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from triggers.trigger.image_trainable import ImageModule, Sides


class LowFrequencies(nn.Module):
    """A map from coefficients (K, C, F) to a trigger's weights (K, C, H, W): sums of F cosines per channel."""

    basis: Tensor

    def __init__(self, basis: Tensor) -> None:
        super().__init__()
        self.register_buffer("basis", basis)

    def forward(self, coefficients: Tensor) -> Tensor:
        """Weights of coefficients."""
        return torch.einsum("kcf,fhw->kchw", coefficients, self.basis)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Coefficients of the nearest weights that can be had."""
        return torch.einsum("kchw,fhw->kcf", weight, self.basis) / self.basis[0].numel()


def cosine_basis(sides: Sides, count: int) -> Tensor:
    """The `count` lowest of the cosines (F, H, W) on a grid, orthogonal, each with a mean square of 1."""
    height, width = sides
    lines = [_cosines(side) for side in sides]
    pairs = sorted(((u / height) ** 2 + (v / width) ** 2, u, v) for u in range(height) for v in range(width))
    return torch.stack([lines[0][u][:, None] * lines[1][v][None, :] for _, u, v in pairs[:count]])


def _cosines(side: int) -> Tensor:
    """All cosines of a line of pixels (S, S), each with a mean square of 1."""
    at = (torch.arange(side, dtype=torch.float64) + 0.5) * pi / side
    waves = torch.cos(torch.arange(side)[:, None] * at)
    return (waves / waves.square().mean(dim=1, keepdim=True).sqrt()).float()


def in_low_frequencies(module: ImageModule, count: int) -> ImageModule:
    """The same module, its weights learned in `count` frequencies per channel at most. It is changed in place."""
    sides = module.weight.shape[-2], module.weight.shape[-1]
    basis = cosine_basis(sides, min(count, sides[0] * sides[1]))
    parametrize.register_parametrization(module, "weight", LowFrequencies(basis))
    return module
