"""Ridge fits: against scikit-learn, and a cross-validation whose held-out rows are really held out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainer.baselines.postprocessing.ridge import (
    FOLDS,
    RIDGE_PENALTIES,
    Columns,
    RowLoss,
    Standardisation,
    assign_rows,
)


def columns_of(features: Tensor) -> Columns:
    """Columns with an intercept that is free of the penalty."""
    return Columns(torch.cat([features, torch.ones(len(features), 1)], dim=1).double(), free=1)


def log_loss(codes: Tensor) -> RowLoss:
    def loss(rows: Tensor, logits: Tensor) -> Tensor:
        return cross_entropy(logits, codes[rows])

    return loss


def drawn(rows: int, signal: float) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    codes = torch.randint(3, (rows,), generator=draw)
    features = torch.randn(rows, 30, generator=draw)
    features[:, :3] += signal * torch.nn.functional.one_hot(codes, 3)
    return features, codes


def test_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    features, codes = drawn(300, 1.0)
    theta = columns_of(features).fit(log_loss(codes), 3, penalty=0.1)
    known = LogisticRegression(C=1 / (0.1 * len(codes)), tol=1e-9, max_iter=2000).fit(features.double(), codes)
    found = torch.softmax(columns_of(features).values @ theta.T, dim=1)
    assert np.allclose(found, known.predict_proba(features.double()), atol=1e-5)


def test_noise_is_shrunk_away_and_evidence_is_kept() -> None:
    noise, codes = drawn(200, 0.0)
    assert columns_of(noise).cross_validate(log_loss(codes), 3).penalty == RIDGE_PENALTIES[0]
    telling, codes = drawn(3000, 2.0)
    assert columns_of(telling).cross_validate(log_loss(codes), 3).penalty <= 0.1


def test_held_out_predictions_are_those_of_a_fit_without_the_row() -> None:
    features, codes = drawn(200, 1.0)
    columns, folds = columns_of(features), assign_rows(200, FOLDS)
    found = columns.cross_validate(log_loss(codes), 3)
    predicted = found.predict(columns.values)
    for fold in range(FOLDS):
        own = folds != fold
        alone = columns_of(features[own]).fit(log_loss(codes[own]), 3, found.penalty)
        expected = torch.softmax(columns.values[~own] @ alone.T, dim=1)
        assert torch.allclose(torch.softmax(predicted[~own], dim=1), expected, atol=1e-4)
    assert torch.bincount(folds).tolist() == [67, 67, 66]


def test_a_weight_unfolds_to_the_columns_as_they_are() -> None:
    features = 5 + 3 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features[:, 2] = 7.0  # constant: says nothing, and divides by nothing
    standardisation = Standardisation.of(features)
    scaled, weight = standardisation.apply(features), torch.randn(2, 4, dtype=torch.float64)
    assert torch.allclose(scaled.std(dim=0, correction=0), torch.tensor([1.0, 1, 0, 1], dtype=torch.float64))
    raw, shift = standardisation.unfold(weight)
    assert torch.allclose(features @ raw.T + shift, scaled @ weight.T)
