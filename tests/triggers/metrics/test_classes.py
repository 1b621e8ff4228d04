"""Figures over all classes: each class against the rest as fairlearn has it, and whole distributions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings

from tests.triggers.metrics.confusion import labelled_rows
from triggers.metrics.fairness_report import Counts, evaluate_counts

CLASS_GAPS = (
    "macro_demographic_parity_difference", "worst_class_demographic_parity_difference",
    "macro_average_odds_difference", "worst_class_average_odds_difference", "total_variation_distance",
)  # fmt: skip
BY_HAND: Counts = {  # predictions of 0, 1, 2: a 5 3 2, b 2 3 5, c 1 1 8 of ten; all right but some of label 0
    ("a", 0, 0): 5, ("a", 1, 1): 3, ("a", 2, 2): 2,
    ("b", 0, 0): 2, ("b", 0, 1): 2, ("b", 1, 1): 1, ("b", 2, 2): 5,
    ("c", 0, 0): 1, ("c", 0, 2): 1, ("c", 1, 1): 1, ("c", 2, 2): 7,
}  # fmt: skip


def test_figures_by_hand() -> None:
    report = evaluate_counts(BY_HAND, labels=3)
    # .5 - .1, .3 - .1, .8 - .2
    assert report.gaps["macro_demographic_parity_difference"].value == pytest.approx((0.4 + 0.2 + 0.6) / 3)
    assert report.gaps["worst_class_demographic_parity_difference"].value == pytest.approx(0.6)
    # TPR: 1 - .5, 0, 0; FPR: 0, 2/9 (2 of b's 9), 1/3 (1 of c's 3)
    assert report.gaps["macro_average_odds_difference"].value == pytest.approx((0.5 + 2 / 9 + 1 / 3) / 6)
    assert report.gaps["worst_class_average_odds_difference"].value == pytest.approx(0.25)
    # a against c: half of .4 + .2 + .6
    assert report.gaps["total_variation_distance"].value == pytest.approx(0.6)
    assert report.gaps["total_variation_distance"].n == 30


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(labelled_rows)
def test_each_class_against_the_rest_is_fairlearns(stream: list[tuple[str, int, int]]) -> None:
    from fairlearn import metrics as fairlearn

    assume(all({(g, c) for g, c, _ in stream} >= {(g, c) for g in "abc"} for c in range(3)))
    group, y, h = (np.array(column) for column in zip(*stream, strict=True))
    parity = [fairlearn.demographic_parity_difference(y == c, h == c, sensitive_features=group) for c in range(3)]
    odds = [
        fairlearn.equalized_odds_difference(y == c, h == c, sensitive_features=group, agg="mean") for c in range(3)
    ]  # fmt: skip
    shares = [np.bincount(h[group == g], minlength=3) / (group == g).sum() for g in "abc"]
    report = evaluate_counts(Counter[tuple[str, int | None, int]](stream), labels=3)
    found = [report.gaps[name].value for name in CLASS_GAPS]
    variation = max(np.abs(p - q).sum() / 2 for p in shares for q in shares)
    assert found == pytest.approx([np.mean(parity), max(parity), np.mean(odds), max(odds), variation], abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(labelled_rows)
def test_every_defined_value_is_inside_its_interval(stream: list[tuple[str, int, int]]) -> None:
    report = evaluate_counts(Counter[tuple[str, int | None, int]](stream), labels=3)
    for name in CLASS_GAPS:
        gap = report.gaps[name]
        if gap.value is None or gap.low is None or gap.high is None:
            assert (gap.value, gap.low, gap.high) == (None, None, None) and gap.reason
        else:
            assert 0 <= gap.low <= gap.value + 1e-12 <= gap.high + 2e-12 <= 1 + 3e-12, name


def test_a_class_that_one_group_alone_has_is_not_dropped() -> None:
    lonely = {cell: n for cell, n in BY_HAND.items() if cell[0] == "a" or cell[1] != 1}
    report = evaluate_counts(lonely, labels=3)
    for name in ("macro_average_odds_difference", "worst_class_average_odds_difference"):
        assert (report.gaps[name].value, report.gaps[name].reason) == (None, "insufficient_groups")
        assert report.gaps[name].excluded == {"b": "zero_denominator", "c": "zero_denominator"}
    assert report.gaps["macro_demographic_parity_difference"].value is not None


def test_without_labels_or_a_second_group_there_is_a_reason() -> None:
    unlabelled = evaluate_counts({(g, None, h): 5 for g in "ab" for h in range(3)}, labels=3)
    assert unlabelled.gaps["macro_average_odds_difference"].reason == "no_labels"
    assert unlabelled.gaps["total_variation_distance"].value == 0.0
    alone = evaluate_counts({("a", 1, 1): 5}, labels=3)
    assert {alone.gaps[name].reason for name in CLASS_GAPS} == {"insufficient_groups"}


def test_two_labels_have_no_such_figures() -> None:
    """They would repeat the others: two classes against the rest are mirror images."""
    assert not set(CLASS_GAPS) & set(evaluate_counts({("a", 1, 1): 5, ("b", 0, 0): 5}).gaps)
