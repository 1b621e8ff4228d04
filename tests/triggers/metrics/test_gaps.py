"""What cannot be known is undefined with a reason; it is never 0 and never parity."""

from __future__ import annotations

import pytest

from tests.triggers.metrics.confusion import counts_of
from triggers.metrics.fairness_report import evaluate_counts


def test_a_group_without_positives_has_no_true_positive_rate() -> None:
    report = evaluate_counts(counts_of(a=(8, 2, 2, 8), b=(0, 3, 0, 7), c=(5, 4, 5, 6)))
    b = report.groups["b"].true_positive_rate
    assert (b.value, b.low, b.high, b.n, b.reason) == (None, None, None, 0, "zero_denominator")
    gap = report.equal_opportunity_difference
    assert gap.value == pytest.approx(0.8 - 0.5)
    assert gap.excluded == {"b": "zero_denominator"}
    assert (gap.lowest, gap.highest) == ("c", "a")
    assert report.equalized_odds_difference.excluded == {"b": "zero_denominator"}
    assert report.false_positive_rate_difference.excluded == {}
    mirrored = evaluate_counts(counts_of(a=(8, 2, 2, 8), b=(3, 0, 7, 0), c=(5, 4, 5, 6)))
    assert mirrored.equal_opportunity_difference.excluded == {}
    assert mirrored.equalized_odds_difference.excluded == {"b": "zero_denominator"}


def test_equalized_odds_is_undefined_when_one_half_is() -> None:
    report = evaluate_counts(counts_of(a=(8, 2, 2, 8), b=(0, 3, 0, 7)))
    for name in ("equal_opportunity_difference", "equalized_odds_difference", "average_odds_difference", "paper_eo"):
        assert (report.gaps[name].value, report.gaps[name].reason) == (None, "insufficient_groups"), name
    assert report.false_positive_rate_difference.value == pytest.approx(0.1)


def test_one_group_is_not_parity() -> None:
    report = evaluate_counts(counts_of(only=(8, 2, 2, 8)))
    assert {gap.value for gap in report.gaps.values()} == {None}
    assert {gap.reason for gap in report.gaps.values()} == {"insufficient_groups"}


def test_without_labels_only_selection_is_known() -> None:
    report = evaluate_counts({("a", None, 1): 6, ("a", None, 0): 4, ("b", None, 1): 3, ("b", None, 0): 7})
    assert report.demographic_parity_difference.value == pytest.approx(0.3)
    assert report.groups["a"].accuracy.reason == "no_labels"
    assert report.overall.true_positive_rate.reason == "no_labels"
    labelled = ("equal_opportunity_difference", "equalized_odds_difference", "accuracy_difference", "paper_eo")
    assert {report.gaps[name].reason for name in labelled} == {"no_labels"}
    assert report.coverage.label == 0.0


def test_nobody_selected_has_a_difference_but_no_ratio() -> None:
    report = evaluate_counts(counts_of(a=(0, 0, 5, 5), b=(0, 0, 3, 7)))
    assert report.demographic_parity_difference.value == 0.0
    ratio = report.demographic_parity_ratio
    assert (ratio.value, ratio.low, ratio.high, ratio.reason) == (None, None, None, "zero_denominator")


def test_nothing_counted() -> None:
    report = evaluate_counts({("a", 1, 1): 0})
    assert (report.n, report.groups) == (0, {})
    assert (report.overall.selection_rate.value, report.overall.selection_rate.reason) == (None, "zero_denominator")
    assert (report.coverage.group, report.coverage.label) == (None, None)
    assert {gap.reason for gap in report.gaps.values()} == {"insufficient_groups"}


def test_unknown_is_shown_and_counted_but_never_compared() -> None:
    known = counts_of(a=(8, 2, 2, 8), b=(5, 3, 5, 7))
    with_unknown = known | counts_of(unknown=(20, 0, 0, 0))
    bare, report = evaluate_counts(known), evaluate_counts(with_unknown)
    assert report.groups["unknown"].selection_rate.value == 1.0
    assert report.n == 60
    assert report.overall.selection_rate.value == pytest.approx(38 / 60)
    assert report.coverage.group == pytest.approx(40 / 60)
    for name in set(report.gaps) - {"paper_dp", "paper_eo"}:
        assert report.gaps[name].value == bare.gaps[name].value, name
        assert report.gaps[name].excluded == {"unknown": "unknown_group"}
    # The paper's overall rate is over everybody, also rows in no group.
    assert report.paper_dp.value == pytest.approx((abs(38 / 60 - 0.5) + abs(38 / 60 - 0.4)) / 2)


def test_unlabelled_rows_count_for_selection_only() -> None:
    labelled = counts_of(a=(8, 2, 2, 8), b=(5, 3, 5, 7))
    both = evaluate_counts(labelled | {("a", None, 1): 20, ("b", None, 0): 5})
    assert both.groups["a"].selection_rate.n == 40
    assert both.groups["a"].accuracy == evaluate_counts(labelled).groups["a"].accuracy
    assert both.coverage.by_group["a"] == {"0": {"labelled": 10, "n": 10}, "1": {"labelled": 10, "n": 30}}
    assert both.coverage.label == pytest.approx(40 / 65)
