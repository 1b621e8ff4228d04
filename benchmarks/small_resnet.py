"""A residual network that trains on a CPU in minutes, for benchmarks without a GPU."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 one, half the resolution."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(narrow, wide, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, padding=1, bias=False),
            nn.BatchNorm2d(wide),
        )
        self.beside = nn.Conv2d(narrow, wide, 1, stride=2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, narrow, H, W) to (N, wide, H / 2, W / 2)."""
        found: Tensor = nn.functional.relu(self.body(maps) + self.beside(maps))
        return found


def small_resnet(labels: int = 2, channels: int = 16) -> nn.Module:
    """Images (N, 3, S, S), normalised, to logits (N, labels): a stem and three blocks, pooled over all places."""
    widths = (channels, 2 * channels, 4 * channels, 8 * channels)
    stem = [nn.Conv2d(3, channels, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    blocks = [ResidualBlock(*pair) for pair in pairwise(widths)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], labels))
