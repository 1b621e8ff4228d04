"""The response surface of a frozen model: every row's answer as a smooth function of the few numbers of a trigger.

A trigger is added to every row alike. So all rows are asked at the same points, and one small matrix of how near the
points lie to each other interpolates all of them (kriging; Sacks et al., Statistical Science 1989): an answer costs its
price once and serves every strength, every loss and every later step. How fast answers change with distance, and how
much of them is noise, is what predicts each point best from the others (leave-one-out, in closed form).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Distances, in units of the design's step, over which answers bend."""
NOISES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Variances of what no smooth function explains, as shares of the kernel's."""


@dataclass(frozen=True, eq=False)
class ResponseSurface:
    """Interpolated answers: `points` (M, P), weights (M, N, L) of their kernels, `mean` (N, L)."""

    points: Tensor
    weights: Tensor
    mean: Tensor
    length: float
    noise: float
    error: float

    @classmethod
    def fit(cls, points: Tensor, answers: Tensor, step: float) -> ResponseSurface:
        """The surface through `answers` (M, N, L) at `points` (M, P), all in units of `step`."""
        mean = answers.mean(dim=0)
        table = (answers - mean).flatten(1).double()
        tried = [_loo(points, table, length * step, noise) for length in LENGTHS for noise in NOISES]
        error, length, noise = min(tried)
        kernel = _kernel(points.double(), points.double(), length) + noise * torch.eye(len(points)).to(table)
        weights = torch.linalg.solve(kernel, table).view_as(answers).float()
        return cls(points, weights, mean, length, noise, error)

    def to(self, device: torch.device) -> ResponseSurface:
        """The same surface on another device."""
        points, weights, mean = (each.to(device) for each in (self.points, self.weights, self.mean))
        return replace(self, points=points, weights=weights, mean=mean)

    def logits(self, at: Tensor, rows: Tensor) -> Tensor:
        """Answers (K, B, L) of the rows (B,) under triggers `at` (K, P), differentiable."""
        kernel = _kernel(at, self.points, self.length)
        return torch.einsum("km,mbl->kbl", kernel, self.weights[:, rows]) + self.mean[rows]


def _kernel(left: Tensor, right: Tensor, length: float) -> Tensor:
    """Similarity (A, M) of points: a straight part and one that bends, both of about 1 at the distance `length`."""
    squares = (left[:, None] - right[None]).square().sum(dim=2) / length**2
    return torch.exp(-squares / 2) + left @ right.T / length**2


def _loo(points: Tensor, table: Tensor, length: float, noise: float) -> tuple[float, float, float]:
    """(mean square error of every point predicted from the others, length, noise)."""
    kernel = _kernel(points.double(), points.double(), length) + noise * torch.eye(len(points)).to(table)
    inverse = torch.linalg.inv(kernel)
    missed = (inverse @ table) / inverse.diagonal()[:, None]
    return float(missed.square().mean()), length, noise
