"""Balanced accuracy: the value by hand, and an interval that covers the truth as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.balanced_accuracy import estimate_balanced_accuracy
from trainer.evaluation.counts import ConfusionCounts


def counted(hits: tuple[int, int], rows: tuple[int, int]) -> ConfusionCounts:
    cells: dict[tuple[str, int | None, int], int] = {("a", label, label): n for label, n in enumerate(hits)}
    return cells | {("b", label, 1 - label): rows[label] - n for label, n in enumerate(hits)}


def test_the_mean_of_recalls_whatever_the_groups() -> None:
    found = estimate_balanced_accuracy(counted((90, 5), (100, 10)))
    assert found.value == pytest.approx(0.7)
    assert found.n == 110
    assert found.low is not None and found.high is not None and found.value is not None
    assert found.value - found.low == pytest.approx(np.hypot(0.9 - 0.8256, 0.5 - 0.2366) / 2, abs=1e-4)
    assert found.high - found.value == pytest.approx(np.hypot(0.9448 - 0.9, 0.7634 - 0.5) / 2, abs=1e-4)


def test_labels_without_rows_do_not_count() -> None:
    assert estimate_balanced_accuracy({("a", 1, 1): 3, ("a", 1, 0): 1}).value == 0.75
    assert estimate_balanced_accuracy({("a", None, 1): 3}).value is None


@pytest.mark.parametrize(
    ("recalls", "rows"), [((0.9, 0.5), (400, 60)), ((0.97, 0.9), (100, 100)), ((1.0, 0.3), (800, 40))]
)
def test_the_interval_covers_the_truth(recalls: tuple[float, float], rows: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    inside = 0
    for hits in draw.binomial(rows, recalls, size=(1000, 2)).tolist():
        found = estimate_balanced_accuracy(counted((hits[0], hits[1]), rows))
        assert found.low is not None and found.high is not None
        inside += found.low <= sum(recalls) / 2 <= found.high
    assert 930 <= inside <= 985
