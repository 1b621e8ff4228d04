"""The useful range of strengths from given trials: the shapes that short trainings really have."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trainer.evaluation.balanced_accuracy import mean_recall
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.strength_range import TRIED, StrengthRange, StrengthTrial, useful_range


def found(
    accuracies: Sequence[float], gaps: Sequence[float | None], bare: float = 0.8, rows: int = 2000
) -> StrengthRange:
    trials = [StrengthTrial(*each) for each in zip(TRIED, accuracies, gaps, strict=True)]
    return useful_range(trials, bare=bare, rows=rows, labels=2)


def test_between_the_plateau_and_the_end_of_the_fall() -> None:
    """The weakest does what utility alone does, the third has the whole fall, the fourth on only cost accuracy."""
    got = found((0.83, 0.84, 0.81, 0.74, 0.72, 0.71), (0.20, 0.11, 0.02, 0.02, 0.08, 0.09))
    assert got.low == pytest.approx((0.1 * 0.63) ** 0.5) and got.high == 25.0
    assert (got.without_effect, got.collapsed) == (0.1, 25.0)
    assert got.strengths(6) == (0.25, 0.63, 1.6, 4.0, 10.0, 25.0)


def test_a_late_plateau_is_left_out() -> None:
    got = found((0.8, 0.8, 0.8, 0.8, 0.79, 0.78), (0.3, 0.3, 0.299, 0.295, 0.2, 0.05))
    assert got.low == pytest.approx(4000**0.5) and (got.high, got.without_effect) == (1000.0, 25.0)


def test_a_collapse_is_no_gap_that_fell() -> None:
    """A constant answer has no gap: neither its gap nor what lies beyond it draws the range upwards."""
    got = found((0.83, 0.82, 0.8, 0.5, 0.5, 0.5), (0.20, 0.12, 0.10, 0.0, 0.0, 0.0))
    assert (got.high, got.collapsed) == (25.0, 25.0)


def test_within_noise_the_range_ends_where_accuracy_does() -> None:
    gaps = (0.120, 0.115, 0.121, 0.150, 0.01, 0.0)
    assert found((0.96, 0.96, 0.9, 0.7, 0.69, 0.69), gaps, rows=350) == StrengthRange(0.1, 25.0, None, 25.0)
    assert found((0.83,) * 6, (0.4,) * 6) == StrengthRange(0.1, 1000.0, None, None)


def test_without_a_measurable_gap_accuracy_alone_decides() -> None:
    assert found((0.83, 0.82, 0.8, 0.8, 0.5, 0.5), (None,) * 6) == StrengthRange(0.1, 160.0, None, 160.0)


def test_a_slow_start_is_compared_with_itself() -> None:
    """A border shrinks the image: all trials are far below the bare model, which says nothing about strengths."""
    got = found((0.65, 0.65, 0.64, 0.63, 0.55, 0.5), (0.2, 0.15, 0.05, 0.02, 0.01, 0.0), bare=0.9)
    assert got.low == pytest.approx(0.063**0.5) and (got.high, got.collapsed) == (160.0, 160.0)


def test_where_every_trial_guesses_the_range_reaches_below_all_of_them() -> None:
    got = found((0.5, 0.51, 0.5, 0.5, 0.5, 0.5), (0.0,) * 6, bare=0.9)
    assert got.low < 0.1 < got.high < 1000.0
    assert got.collapsed == 0.1


def test_chance_depends_on_the_number_of_labels() -> None:
    trials = [StrengthTrial(s, b, 0.1) for s, b in zip(TRIED, (0.6, 0.6, 0.58, 0.5, 0.47, 0.125), strict=True)]
    assert useful_range(trials, bare=0.6, rows=2000, labels=8).collapsed == 160.0
    assert useful_range(trials, bare=0.6, rows=2000, labels=2).collapsed == 25.0


@pytest.mark.parametrize(("low", "high"), [(0.25, 25.0), (0.1, 0.63), (0.01, 1000.0)])
def test_found_strengths_are_different_and_short(low: float, high: float) -> None:
    strengths = StrengthRange(low, high, None, None).strengths(6)
    assert list(strengths) == sorted(set(strengths))
    assert (strengths[0], strengths[-1]) == (low, high)
    assert all(float(f"{strength:.2g}") == strength for strength in strengths)


def test_balanced_accuracy_weighs_labels_alike() -> None:
    counts: ConfusionCounts = {("a", 0, 0): 85, ("b", 0, 1): 5, ("a", 1, 1): 2, ("b", 1, 0): 8}
    assert mean_recall(counts) == pytest.approx((85 / 90 + 0.2) / 2)
