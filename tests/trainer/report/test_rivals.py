"""How a threshold shift is used: the threshold that it means decides as the shift does."""

from __future__ import annotations

import pytest
import torch

from trainer.report.rivals import shifted_threshold
from triggers.model.decision import DecisionRule


@pytest.mark.parametrize("threshold", [None, 0.2, 0.8])
@pytest.mark.parametrize("pos_label", [0, 1])
@pytest.mark.parametrize("shift", [-1.3, 0.4])
def test_the_threshold_decides_as_the_shift_does(threshold: float | None, pos_label: int, shift: float) -> None:
    logits = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    shifted = DecisionRule(pos_label, threshold).decision_logits(logits).clone()
    shifted[:, pos_label] += shift
    found = DecisionRule(pos_label, shifted_threshold(shift, threshold)).labels(logits)
    assert (found == shifted.argmax(dim=1)).all()
    assert (found != DecisionRule(pos_label, threshold).labels(logits)).any()


def test_with_more_labels_a_threshold_moves_as_its_shift_does() -> None:
    logits = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    shifted = DecisionRule(2, 0.3).decision_logits(logits).clone()
    shifted[:, 2] += 0.7
    assert (DecisionRule(2, shifted_threshold(0.7, 0.3)).labels(logits) == shifted.argmax(dim=1)).all()
