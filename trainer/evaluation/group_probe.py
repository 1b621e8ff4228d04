"""A group probe: logistic regression that predicts the group from the frozen network's features or outputs.

It is fitted apart from any training of triggers, on the network's penultimate features (the input of its last linear
layer) or on its outputs. Rows are weighted so that all groups count alike: without information every group gets 1/G.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from triggers.metrics import wilson
from triggers.metrics.intervals import critical

PENALTY = 0.01
"""Weight of half the squared coefficients, features scaled to unit variance: keeps 1,000 rows from overfitting 512."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted probe: centre and scale of the features (F,), weights (G, F) and biases (G,), float64."""

    centre: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def posterior(self, features: Tensor) -> Tensor:
        """Features (N, F) to probabilities of the groups (N, G), as if all groups were equally frequent."""
        scaled = (features.double() - self.centre) / self.scale
        return torch.softmax(scaled @ self.weight.T + self.bias, dim=1)


def fit_probe(features: Tensor, groups: Tensor, count: int) -> Probe:
    """Fit on features (N, F) and group codes (N,) of `count` groups, to convergence and without randomness."""
    features = features.double()
    centre, scale = features.mean(dim=0), features.std(dim=0, correction=0)
    scale = torch.where(scale > 1e-6, scale, 1.0)
    scaled = (features - centre) / scale
    sizes = torch.bincount(groups, minlength=count).double()
    weights = torch.where(sizes > 0, len(groups) / (sizes.clamp(min=1) * (sizes > 0).sum()), 0.0)
    theta = torch.zeros(count, features.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        wrong = cross_entropy(scaled @ theta[:, :-1].T + theta[:, -1], groups, weight=weights)
        value = wrong + 0.5 * PENALTY * theta[:, :-1].square().sum()
        torch.autograd.backward(value)
        return value

    optimizer.step(loss)
    fitted = theta.detach()
    return Probe(centre, scale, fitted[:, :-1], fitted[:, -1])


def balanced_accuracy(posterior: Tensor, groups: Tensor) -> dict[str, Any]:
    """Mean over the groups of the share of their rows (N, G) that is recognised, with its 95 % interval.

    1/G is guessing. The interval combines the groups' Wilson limits (Zou and Donner, 2008).
    """
    guesses = posterior.argmax(dim=1)
    present = groups.unique()
    n = torch.stack([(groups == group).sum() for group in present]).numpy()
    hits = torch.stack([((groups == group) & (guesses == group)).sum() for group in present]).numpy()
    rates, (low, high) = hits / n, wilson(hits, n, critical(0.95))
    value = rates.mean()
    below, above = (float(((limit - rates) ** 2).sum() ** 0.5) / len(n) for limit in (low, high))
    return {"value": float(value), "low": float(value - below), "high": float(value + above), "n": int(n.sum())}
