"""Linear models with a ridge penalty that cross-validation within the fitted rows chooses: no validation row is read.

All of them are small heads on standardised features of the frozen network: columns (N, P), of which the last are free
of the penalty. A model is a table of coefficients (C, P), fitted to convergence by LBFGS, without randomness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

RIDGE_PENALTIES = (10.0, 2.0, 0.4, 0.08, 0.016, 0.003)
"""Weights of half the squared coefficients, of which one is chosen; columns have unit variance, losses are means."""
FOLDS = 3

RowLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""The loss of some rows (n,) of the fitted ones under linear predictions (n, C) for them."""


@dataclass(frozen=True, eq=False)
class Standardisation:
    """Centre and scale (F,), float64, under which columns have mean 0 and variance 1; constant columns become 0."""

    centre: Tensor
    scale: Tensor

    @classmethod
    def of(cls, columns: Tensor) -> Standardisation:
        """The standardisation of columns (N, F)."""
        values = columns.double()
        scale = values.std(dim=0, correction=0)
        return cls(values.mean(dim=0), torch.where(scale > 1e-6, scale, torch.inf))

    def apply(self, columns: Tensor) -> Tensor:
        """Columns (N, F), standardised."""
        return (columns.double() - self.centre) / self.scale

    def unfold(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (C, F) on columns as they are, from one on standardised columns, and what it adds to the bias (C,)."""
        raw = weight / self.scale
        return raw, -raw @ self.centre


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns (N, P), float64, of which the last `free` are not penalised."""

    values: Tensor
    free: int

    def fit(self, loss: RowLoss, outputs: int, penalty: float, start: Tensor | None = None) -> Tensor:
        """Coefficients (outputs, P) that minimise the loss plus the penalty; LBFGS from `start`, else from 0."""
        return self._fit(torch.arange(len(self.values)), loss, outputs, penalty, start)

    def cross_validate(self, loss: RowLoss, outputs: int) -> CrossValidation:
        """The penalty with the least mean loss of held-out rows: from the largest down, while it falls."""
        folds, best, least = assign_rows(len(self.values), FOLDS), None, float("inf")
        fits = torch.zeros(FOLDS, outputs, self.values.shape[1], dtype=torch.float64)
        for penalty in RIDGE_PENALTIES:
            fits, total = fits.clone(), 0.0
            for fold in range(FOLDS):
                own, held_out = (folds != fold).nonzero()[:, 0], (folds == fold).nonzero()[:, 0]
                fits[fold] = self._fit(own, loss, outputs, penalty, fits[fold])
                total += len(held_out) * float(loss(held_out, self.values[held_out] @ fits[fold].T))
            if total >= least:
                break
            least, best = total, CrossValidation(penalty, fits, folds)
        assert best
        return best

    def _fit(self, rows: Tensor, loss: RowLoss, outputs: int, penalty: float, start: Tensor | None) -> Tensor:
        values = self.values[rows]
        theta = torch.zeros(outputs, values.shape[1], dtype=torch.float64) if start is None else start.clone()
        theta.requires_grad_()
        penalised = values.shape[1] - self.free
        optimizer = torch.optim.LBFGS(
            [theta], max_iter=100, tolerance_grad=1e-6, tolerance_change=1e-9, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = loss(rows, values @ theta.T) + 0.5 * penalty * theta[:, :penalised].square().sum()
            torch.autograd.backward(value)
            return value

        optimizer.step(closure)
        return theta.detach()


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The chosen penalty, and the fit without each fold: coefficients (FOLDS, C, P), and the fold (N,) of each row."""

    penalty: float
    coefficients: Tensor
    folds: Tensor

    def predict(self, values: Tensor) -> Tensor:
        """Linear predictions (N, C) from columns (N, P) of the N rows, of each by the fit that has not seen it."""
        by_fold = torch.einsum("np,fcp->fnc", values, self.coefficients)
        return by_fold[self.folds, torch.arange(len(values))]


def assign_rows(rows: int, folds: int) -> Tensor:
    """The fold (N,) of each row: even, and the same on every run, whatever the order of the source."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(0)) % folds
