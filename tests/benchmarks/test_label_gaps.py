"""The labels' own gap, by hand."""

from __future__ import annotations

import pytest

from benchmarks.label_gaps import label_gap


def test_by_hand() -> None:
    gap = label_gap({("a", 0): 30, ("a", 1): 70, ("b", 0): 60, ("b", 1): 40})
    assert gap.value == pytest.approx(0.3)
    assert gap.low is not None and gap.high is not None
    assert 0.15 < gap.low < 0.3 < gap.high < 0.45
