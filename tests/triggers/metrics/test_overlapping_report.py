"""Fairness figures of overlapping groups: by hand, and against a recount of the rows one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.triggers.metrics.confusion import confusions, counts_of
from triggers.metrics.fairness_report import Counts, evaluate_counts
from triggers.metrics.overlapping_groups import cell_of

Person = tuple[tuple[str, ...], int | None, int]  # identities, label, prediction

BY_HAND: Counts = {
    ("a", 1, 1): 4, ("a", 0, 0): 4,
    ("b", 1, 1): 1, ("b", 1, 0): 1, ("b", 0, 0): 6,
    ("a + b", 1, 1): 2, ("a + b", 0, 1): 2,
    ("none", 1, 0): 1, ("none", 0, 0): 9,
}  # fmt: skip


def test_figures_by_hand() -> None:
    report = evaluate_counts(BY_HAND, overlapping=True)
    assert list(report.groups) == ["a", "b", "none"]
    a, b, none = report.groups.values()
    assert (a.n, a.selection_rate.value) == (12, 8 / 12)
    assert (b.n, b.selection_rate.value) == (12, 5 / 12)
    assert (none.n, none.selection_rate.value) == (10, 0.0)
    assert (a.true_positive_rate.value, b.true_positive_rate.value) == (1.0, 3 / 4)
    assert (a.false_positive_rate.value, b.false_positive_rate.value) == (2 / 6, 2 / 8)
    overall = report.overall
    assert (report.n, overall.selection_rate.value) == (30, 9 / 30)  # the four of "a + b" once
    assert (overall.true_positive_rate.value, overall.false_positive_rate.value) == (7 / 9, 2 / 21)
    gaps = {name: gap.value for name, gap in report.gaps.items()}
    assert gaps == pytest.approx(
        {
            "demographic_parity_difference": 3 / 12,
            "demographic_parity_ratio": 5 / 8,
            "demographic_parity_to_overall": 8 / 12 - 9 / 30,
            "equal_opportunity_difference": 1 / 4,
            "false_positive_rate_difference": 1 / 12,
            "equalized_odds_difference": 1 / 4,
            "average_odds_difference": 1 / 6,
            "accuracy_difference": 10 / 12 - 9 / 12,
            "paper_dp": ((8 / 12 - 9 / 30) + (5 / 12 - 9 / 30)) / 2,
            # half of (mean distance of the TPRs 2/9 and 1/36, of the FPRs 5/21 and 13/84)
            "paper_eo": ((2 / 9 + 1 / 36) / 2 + (5 / 21 + 13 / 84) / 2) / 2,
        },
        abs=1e-15,
    )


def test_none_is_no_group_and_unknown_is_not_none() -> None:
    known, report = (evaluate_counts(counts, overlapping=True) for counts in (BY_HAND, {**BY_HAND, UNSURE: 10}))
    assert known.demographic_parity_difference.excluded == {"none": "no_identity"}
    assert report.demographic_parity_difference.excluded == {"none": "no_identity", "unknown": "unknown_group"}
    assert report.demographic_parity_to_overall.value == known.demographic_parity_to_overall.value
    assert (known.coverage.group, report.coverage.group) == (1.0, 0.75)
    assert report.overall.selection_rate.value == 19 / 40
    # The paper's overall is over everybody, so `unknown` moves it.
    assert report.paper_dp.value == pytest.approx((abs(19 / 40 - 8 / 12) + abs(19 / 40 - 5 / 12)) / 2)


UNSURE = ("unknown", None, 1)


def test_without_the_flag_every_cell_is_a_group_of_its_own() -> None:
    report = evaluate_counts(BY_HAND)
    assert list(report.groups) == ["a", "a + b", "b", "none"]
    assert report.demographic_parity_difference.value == 1.0
    assert report.demographic_parity_difference.excluded == {}


def test_one_identity_is_not_parity_whatever_none_does() -> None:
    report = evaluate_counts({("a", 1, 1): 9, ("none", 0, 0): 9}, overlapping=True)
    assert {gap.reason for gap in report.gaps.values()} == {"insufficient_groups"}


def test_the_document_says_that_groups_overlap() -> None:
    assert evaluate_counts(BY_HAND, overlapping=True).to_dict()["groups_overlap"] is True
    assert "groups_overlap" not in evaluate_counts(BY_HAND).to_dict()


@settings(deadline=None)
@given(st.lists(confusions, min_size=1, max_size=4))
def test_groups_that_do_not_overlap_give_the_same_figures_either_way(groups: list[tuple[int, int, int, int]]) -> None:
    counts = counts_of(**{f"g{i}": cells for i, cells in enumerate(groups)}, unknown=(3, 1, 0, 2))
    one, other = (evaluate_counts(counts, overlapping=flag) for flag in (False, True))
    assert (one.overall, one.groups, one.coverage) == (other.overall, other.groups, other.coverage)
    for name, gap in one.gaps.items():  # limits that need no independence are no narrower
        wide = other.gaps[name]
        assert replace(gap, low=None, high=None) == replace(wide, low=None, high=None), name
        if None not in (gap.low, gap.high, wide.low, wide.high):
            assert float(wide.low or 0) <= float(gap.low or 0) + 1e-9, name
            assert float(wide.high or 0) >= float(gap.high or 0) - 1e-9, name


# ---- against a recount ------------------------------------------------------------------------------------------

IDENTITIES = [names for size in range(4) for names in combinations("abcd", size)]
people = st.lists(
    st.sampled_from(list(product(IDENTITIES, (0, 1, 2, None), range(3)))), min_size=20, max_size=120
)  # fmt: skip


def recount(rows: Sequence[Person], over: Callable[[Person], bool], hit: Callable[[Person], bool]) -> float | None:
    chosen = [hit(row) for row in rows if over(row)]
    return sum(chosen) / len(chosen) if chosen else None


RATES: dict[str, Callable[[Sequence[Person], int], float | None]] = {
    "selection_rate": lambda rows, c: recount(rows, lambda row: True, lambda row: row[2] == c),
    "accuracy": lambda rows, c: recount(rows, lambda row: row[1] is not None, lambda row: row[1] == row[2]),
    "true_positive_rate": lambda rows, c: recount(rows, lambda row: row[1] == c, lambda row: row[2] == c),
    "false_positive_rate": lambda rows, c: recount(rows, lambda row: row[1] not in (c, None), lambda row: row[2] == c),
}


def by_group(rows: Sequence[Person], rate: str, label: int) -> list[float]:
    """The rate of every identity that has one."""
    found = (RATES[rate]([row for row in rows if name in row[0]], label) for name in "abcd")
    return [value for value in found if value is not None]


def difference(rows: Sequence[Person], rate: str, label: int) -> float | None:
    values = by_group(rows, rate, label)
    return max(values) - min(values) if len(values) > 1 else None


def mean_distance(rows: Sequence[Person], rate: str, label: int) -> float | None:
    values, overall = by_group(rows, rate, label), RATES[rate](rows, label)
    return float(np.mean([abs(value - overall) for value in values])) if overall is not None and values[1:] else None


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


@settings(max_examples=80, deadline=None)
@given(people, st.integers(0, 2))
def test_every_figure_is_that_of_a_recount(rows: list[Person], pos: int) -> None:
    counts = Counter[tuple[str, int | None, int]]((cell_of(names), y, h) for names, y, h in rows)
    report = evaluate_counts(counts, pos_label=pos, labels=3, overlapping=True)
    assert set(report.groups) == {name for names, _, _ in rows for name in names or ("none",)}
    for name, group in report.groups.items():
        members = [row for row in rows if name in (row[0] or ("none",))]
        assert group.n == len(members)
        assert group.labelled == sum(row[1] is not None for row in members)
        for rate, value in RATES.items():
            assert getattr(group, rate).value == value(members, pos), (name, rate)
    assert report.n == len(rows)
    assert all(getattr(report.overall, rate).value == value(rows, pos) for rate, value in RATES.items())
    odds = ("true_positive_rate", "false_positive_rate")
    expected = {
        "demographic_parity_difference": difference(rows, "selection_rate", pos),
        "accuracy_difference": difference(rows, "accuracy", pos),
        "average_odds_difference": mean([difference(rows, rate, pos) for rate in odds]),
        "macro_demographic_parity_difference": mean([difference(rows, "selection_rate", c) for c in range(3)]),
        "macro_average_odds_difference": mean([difference(rows, rate, c) for c in range(3) for rate in odds]),
        "paper_dp": mean([mean_distance(rows, "selection_rate", c) for c in range(3)]),
        "paper_eo": mean([mean_distance(rows, rate, c) for c in range(3) for rate in odds]),
    }
    for name, figure in expected.items():
        assert report.gaps[name].value == (None if figure is None else pytest.approx(figure, abs=1e-12)), name


@settings(max_examples=40, deadline=None)
@given(people, people)
def test_counts_of_overlapping_groups_may_be_summed(first: list[Person], second: list[Person]) -> None:
    one, other = (Counter((cell_of(names), y, h) for names, y, h in rows) for rows in (first, second))
    together = Counter((cell_of(names), y, h) for names, y, h in (*first, *second))
    assert evaluate_counts(one + other, labels=3, overlapping=True) == evaluate_counts(
        together, labels=3, overlapping=True
    )
