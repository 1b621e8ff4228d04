"""The generator of FAAP: three convolutions down, a residual block, three up, half a million numbers at most.

Departures from the published one, which is that of AdvGAN: fewer numbers, since it is tuned on a few thousand images,
and group norms, so that what an image becomes does not depend on the others in its batch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_CHANNELS, LEAST_CHANNELS = 32, 8
"""Channels after the first convolution; after the third there are four times as many."""

START = 0.02
"""Standard deviation of the last layer's weights at the start: the first perturbations are faint."""


class PerturbationGenerator(nn.Module):
    """Images (B, C, H, W) in [0, 1] to perturbations of the same shape, none of whose values exceeds epsilon."""

    def __init__(self, channels: int, sides: tuple[int, int], epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        width = min(MOST_CHANNELS, max(LEAST_CHANNELS, min(sides) // 2))
        widths = (channels, width, 2 * width, 4 * width)
        self.down = nn.ModuleList(_block(a, b, stride=2) for a, b in pairwise(widths))
        self.middle = nn.Sequential(_block(widths[3], widths[3]), nn.Conv2d(widths[3], widths[3], 3, padding=1))
        self.up = nn.ModuleList(_block(a, b) for a, b in ((widths[3], widths[2]), (widths[2], widths[1])))
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.normal_(self.last.weight, std=START)

    def forward(self, images: Tensor) -> Tensor:
        """The perturbations alone, differentiable."""
        x, sides = 2 * images - 1, []
        for layer in self.down:
            sides.append((x.shape[-2], x.shape[-1]))
            x = layer(x)
        x = functional.relu(x + self.middle(x))
        for layer in (*self.up, self.last):
            x = layer(_enlarged(x, sides.pop()))
        return self.epsilon * torch.tanh(x)

    def perturbed(self, images: Tensor) -> Tensor:
        """Images, uint8 (B, C, H, W), with their perturbations: float, in [0, 1]."""
        pixels = images.to(torch.float32) / 255.0
        return (pixels + cast(Tensor, self(pixels))).clamp(0.0, 1.0)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(4, outputs), nn.ReLU())


def _enlarged(x: Tensor, sides: tuple[int, int]) -> Tensor:
    """Every cell of (B, C, h, w) as 2 x 2 cells, cut to `sides`, which are at most twice as many."""
    b, c, h, w = x.shape
    doubled = x[:, :, :, None, :, None].expand(b, c, h, 2, w, 2).reshape(b, c, 2 * h, 2 * w)
    return doubled[:, :, : sides[0], : sides[1]]
