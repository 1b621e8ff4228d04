"""Gains on the same rows: equal to what two separate reports say, with intervals that cover, and far less noise."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.errors import DataError
from triggers.metrics import paired_intervals
from triggers.metrics.critical_values import all_pairs, critical
from triggers.metrics.fairness_report import evaluate_counts
from triggers.metrics.paired import JointTable, evaluate_pairs

REPEATS = 2000
rows = st.lists(
    st.sampled_from(list(product(("a", "b", "c", "unknown"), *[range(3)] * 3))), min_size=30, max_size=150
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(0, 2))
def test_a_gain_is_the_difference_of_two_reports(stream: list[tuple[str, int, int, int]], pos: int) -> None:
    before = Counter[tuple[str, int | None, int]]((g, y, h) for g, y, h, _ in stream)
    after = Counter[tuple[str, int | None, int]]((g, y, h) for g, y, _, h in stream)
    one, two = (evaluate_counts(counts, pos_label=pos, labels=3) for counts in (before, after))
    report = evaluate_pairs(Counter[tuple[str, int | None, int, int]](stream), pos_label=pos, labels=3)
    for name, gain in report.gains.items():
        old, new = one.gaps[name], two.gaps[name]
        assert [gain.before, gain.after] == pytest.approx([old.value, new.value]), name
        if gain.value is None:
            assert gain.reason == old.reason
        else:
            assert gain.low is not None and gain.high is not None
            assert gain.low - 1e-12 <= gain.value <= gain.high + 1e-12
    for name, group in report.groups.items():
        assert group.selection_rate.after == pytest.approx(two.groups[name].selection_rate.value)
        assert group.accuracy.before == pytest.approx(one.groups[name].accuracy.value)
        assert group.flipped == sum(g == name and a != b for g, _, a, b in stream) == sum(f.n for f in group.flips)
    assert report.overall.accuracy.after == pytest.approx(two.overall.accuracy.value)


def test_what_is_not_known_has_a_reason() -> None:
    report = evaluate_pairs({("a", None, 1, 0): 5, ("a", None, 1, 1): 15, ("b", None, 0, 0): 20})
    assert report.demographic_parity_difference.value == pytest.approx(0.25)
    assert report.equalized_odds_difference.reason == "no_labels"
    assert report.groups["a"].accuracy.reason == "no_labels"
    assert report.groups["a"].selection_rate.value == pytest.approx(-0.25)
    assert (report.n, report.flipped, report.labelled) == (40, 5, 0)
    alone = evaluate_pairs({("a", 1, 1, 0): 5, ("unknown", 1, 1, 1): 5})
    assert alone.demographic_parity_difference.reason == "insufficient_groups"
    assert alone.demographic_parity_difference.excluded == {"unknown": "unknown_group"}
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_group_that_no_gap_can_compare_is_named_with_its_own_reason() -> None:
    joint: dict[tuple[str, int | None, int, int], int] = {
        ("a", 1, 1, 0): 5, ("b", 1, 1, 1): 5, ("negatives", 0, 1, 0): 5, ("unlabelled", None, 1, 1): 5
    }  # fmt: skip
    report = evaluate_pairs(joint)
    excluded = {"negatives": "zero_denominator", "unlabelled": "no_labels"}
    assert report.equal_opportunity_difference.excluded == excluded
    assert report.equalized_odds_difference.excluded == excluded | dict.fromkeys("ab", "zero_denominator")
    assert report.accuracy_difference.excluded == {"unlabelled": "no_labels"}
    assert report.demographic_parity_difference.excluded == {}


def test_overlapping_groups_count_a_row_for_each() -> None:
    joint: dict[tuple[str, int | None, int, int], int] = {
        ("a + b", 1, 1, 0): 4,
        ("a", 0, 0, 0): 6,
        ("none", 1, 1, 1): 2,
    }
    report = evaluate_pairs(joint, overlapping=True)
    assert {name: group.n for name, group in report.groups.items()} == {"a": 10, "b": 4, "none": 2}
    assert report.n == 12 and report.demographic_parity_difference.excluded == {"none": "no_identity"}


def joints(before: float, down: float, up: float) -> list[float]:
    """Shares of rows hit both times, only before, only after, never."""
    return [before - down, down, up, 1 - before - up]


def draw(shares: list[list[float]], n: int, repeats: int = REPEATS) -> np.ndarray:
    """Rows (repeats, G, 4)."""
    random = np.random.default_rng(7)
    return np.stack([random.multinomial(n, p, size=repeats) for p in shares], axis=1)


def test_coverage_of_a_paired_change() -> None:
    for share in (joints(0.3, 0.04, 0.08), joints(0.5, 0.1, 0.1)):
        low, high = paired_intervals.change(draw([share], 200)[:, 0], critical(0.95))
        truth = share[1] - share[2]
        assert 0.935 <= np.mean((low <= truth) & (truth <= high)) <= 0.97


@pytest.mark.parametrize(
    ("shares", "truth", "most"),
    [
        ([joints(0.3, 0.03, 0.03), joints(0.45, 0.03, 0.03)], 0.0, 0.97),  # a gap that stays
        ([joints(0.3, 0.02, 0.05), joints(0.45, 0.06, 0.02)], 0.07, 0.97),  # a gap halved
        ([joints(0.3, 0.02, 0.09), joints(0.45, 0.10, 0.02)], 0.15, 0.97),  # a gap closed
        ([joints(0.3, 0.0, 0.15), joints(0.45, 0.10, 0.0)], 0.05, 0.97),  # a gap turned round
        ([joints(0.3, 0.04, 0.04)] * 2, 0.0, 1.0),  # parity before and after
        ([joints(0.3, 0.02, 0.02)] * 7 + [joints(0.5, 0.1, 0.0)], 0.1, 1.0),
    ],
)
def test_coverage_of_a_gain(shares: list[list[float]], truth: float, most: float) -> None:
    low, high = paired_intervals.gain([draw(shares, 500)], all_pairs(0.95, len(shares)))
    assert 0.93 <= np.mean((low <= truth + 1e-12) & (truth - 1e-12 <= high)) <= most


def test_pairs_say_far_more_than_two_separate_sets_of_rows() -> None:
    """Ten thousand requests, a few per cent of which the change affects: the variance of the gain, paired and A/B."""
    shares = [joints(0.30, 0.01, 0.06), joints(0.45, 0.06, 0.01)]
    together, one, other = draw(shares, 5000), draw(shares, 2500), draw(shares, 2500)[::-1]

    def gaps(rows: np.ndarray, column: int) -> np.ndarray:
        rate = (rows[..., 0] + rows[..., column]) / rows.sum(axis=-1)
        return np.asarray(rate[:, 1] - rate[:, 0])

    paired = np.var(gaps(together, 1) - gaps(together, 2))
    split = np.var(gaps(one, 1) - gaps(other, 2))
    assert split / paired > 10


@pytest.mark.parametrize("cell", [("f", 0, -1, 0), ("f", 0, 0, 2), ("f", 2, 0, 0), ("f", -1, 0, 0)])
def test_a_cell_that_cannot_be_is_refused(cell: tuple[str, int, int, int]) -> None:
    with pytest.raises(DataError, match="outside the 2 labels"):
        JointTable.of({cell: 1}, 2)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be negative"):
        JointTable.of({("f", 0, 0, 0): -1}, 2)
