"""Fairness figures: the pinned reference values, agreement with fairlearn, and the deliberate differences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.triggers.metrics.confusion import Confusion, confusions, counts_of, labelled_rows
from triggers.errors import DataError
from triggers.metrics.fairness_report import Counts, FairnessReport, Gap, evaluate_counts

FIXTURES: dict[str, dict[str, Confusion]] = {
    "g_1": {"aa": (15, 7, 7, 7), "ba": (18, 6, 5, 6)},
    "g_2": {"f": (16, 8, 7, 5), "g": (17, 5, 5, 8)},
    "g_1xg_2": {"aa.f": (5, 4, 4, 5), "aa.g": (10, 3, 3, 2), "ba.f": (11, 4, 3, 0), "ba.g": (7, 2, 2, 6)},
    "g_3": {"kk": (14, 8, 8, 6), "m": (19, 5, 4, 7)},
}
GAPS = (
    "demographic_parity_difference", "demographic_parity_ratio", "equal_opportunity_difference",
    "equalized_odds_difference", "average_odds_difference", "demographic_parity_to_overall", "paper_dp", "paper_eo",
)  # fmt: skip
PINNED = {
    "g_1": (
        0.07460317460317456, 0.8912037037037037, 0.10079051383399218, 0.10079051383399218, 0.05039525691699609,
        0.037826961770623724, 0.03730158730158728, 0.025197628458498045,
    ),
    "g_2": (
        0.03809523809523807, 0.9428571428571428, 0.07707509881422925, 0.23076923076923078, 0.15392216479173002,
        0.019315895372233438, 0.019047619047619035, 0.07696108239586501,
    ),
    "g_1xg_2": (
        0.33333333333333337, 0.6, 0.23015873015873012, 0.75, 0.49007936507936506,
        0.18544600938967137, 0.1315359477124183, 0.15200702075702077,
    ),
    "g_3": (
        0.07460317460317456, 0.8912037037037037, 0.18972332015810278, 0.18972332015810278, 0.17224261246000375,
        0.037826961770623724, 0.03730158730158728, 0.08612130623000187,
    ),
}  # fmt: skip


@pytest.mark.parametrize("fixture", FIXTURES)
def test_reference_values(fixture: str) -> None:
    report = evaluate_counts(counts_of(**FIXTURES[fixture]))
    assert [report.gaps[name].value for name in GAPS] == pytest.approx(PINNED[fixture], abs=1e-15)


@pytest.mark.parametrize("fixture", FIXTURES)
def test_reference_fixture_is_that_of_the_oracle(fixture: str) -> None:
    """The pinned numbers are not only ours: fairlearn gives them on the expanded rows."""
    y, h, group = rows(counts_of(**FIXTURES[fixture]))
    assert fairlearn_gaps(y, h, group) == pytest.approx(dict(zip(GAPS, PINNED[fixture], strict=True)), abs=1e-12)


def rows(counts: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row per counted prediction: labels, predictions, groups."""
    expanded = [cell for cell, n in counts.items() for _ in range(n)]
    group, y, h = zip(*expanded, strict=True)
    return np.array(y), np.array(h), np.array(group)


def fairlearn_gaps(y: np.ndarray, h: np.ndarray, group: np.ndarray) -> dict[str, float]:
    """fairlearn's value of every gap it knows; the paper's two from their definition, row by row."""
    from fairlearn import metrics as fairlearn

    by: dict[str, Any] = {"sensitive_features": group}
    wrong = [h[y == 1] == 0, h[y == 0] == 1]
    members = [group[y == 1], group[y == 0]]
    return {
        "demographic_parity_difference": fairlearn.demographic_parity_difference(y, h, **by),
        "demographic_parity_ratio": fairlearn.demographic_parity_ratio(y, h, **by),
        "equal_opportunity_difference": fairlearn.equal_opportunity_difference(y, h, **by),
        "equalized_odds_difference": fairlearn.equalized_odds_difference(y, h, **by),
        "average_odds_difference": fairlearn.equalized_odds_difference(y, h, agg="mean", **by),
        "demographic_parity_to_overall": fairlearn.demographic_parity_difference(y, h, method="to_overall", **by),
        "paper_dp": distance(h == 1, group),
        "paper_eo": sum(distance(event, z) for event, z in zip(wrong, members, strict=True)) / 2,
    }


def distance(event: np.ndarray, group: np.ndarray) -> float:
    """Mean over groups of |P(event) - P(event given group)|."""
    return float(np.mean([abs(event.mean() - event[group == z].mean()) for z in np.unique(group)]))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(confusions, min_size=2, max_size=5))
def test_every_gap_is_fairlearns(groups: list[Confusion]) -> None:
    counts = counts_of(**{f"g{i}": cells for i, cells in enumerate(groups)})
    y, h, group = rows(counts)
    assume(h.any())  # fairlearn's ratio is nan when nobody is selected
    report, expected = evaluate_counts(counts), fairlearn_gaps(y, h, group)
    assert {name: report.gaps[name].value for name in GAPS} == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(confusions, min_size=2, max_size=4))
def test_every_rate_is_fairlearns(groups: list[Confusion]) -> None:
    from fairlearn import metrics as fairlearn

    counts = counts_of(**{f"g{i}": cells for i, cells in enumerate(groups)})
    y, h, group = rows(counts)
    measures = {
        "selection_rate": fairlearn.selection_rate,
        "accuracy": lambda y, h: float(np.mean(y == h)),
        "true_positive_rate": fairlearn.true_positive_rate,
        "false_positive_rate": fairlearn.false_positive_rate,
    }
    frame = fairlearn.MetricFrame(metrics=measures, y_true=y, y_pred=h, sensitive_features=group)
    report = evaluate_counts(counts)
    for name in measures:
        assert getattr(report.overall, name).value == pytest.approx(frame.overall[name], abs=1e-12)
        ours = {group: getattr(cells, name).value for group, cells in report.groups.items()}
        assert ours == pytest.approx(dict(frame.by_group[name]), abs=1e-12)
    spread = frame.difference()
    assert report.accuracy_difference.value == pytest.approx(spread["accuracy"], abs=1e-12)
    assert report.false_positive_rate_difference.value == pytest.approx(spread["false_positive_rate"], abs=1e-12)


# ---- several labels --------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(labelled_rows, st.integers(0, 2))
def test_several_labels_are_pos_label_against_the_rest(stream: list[tuple[str, int, int]], pos: int) -> None:
    counts = Counter[tuple[str, int | None, int]](stream)
    report = evaluate_counts(counts, pos_label=pos, labels=3)
    against_the_rest = Counter[tuple[str, int | None, int]]((g, int(y == pos), int(h == pos)) for g, y, h in stream)
    binary = evaluate_counts(against_the_rest)
    for name in set(GAPS) - {"paper_dp", "paper_eo"}:
        assert report.gaps[name] == binary.gaps[name]
    assert report.overall.accuracy.value == pytest.approx(np.mean([y == h for _, y, h in stream]))


@settings(max_examples=60, deadline=None)
@given(labelled_rows)
def test_the_papers_figures_average_over_labels(stream: list[tuple[str, int, int]]) -> None:
    counts = Counter[tuple[str, int | None, int]](stream)
    report = evaluate_counts(counts, labels=3)
    y, h, group = rows(counts)
    assume(all(((y == c) & (group == z)).any() for c in range(3) for z in "abc"))
    dp = np.mean([distance(h == c, group) for c in range(3)])
    eo = np.mean([
        (distance(h[y == c] != c, group[y == c]) + distance(h[y != c] == c, group[y != c])) / 2 for c in range(3)
    ])  # fmt: skip
    assert report.paper_dp.value == pytest.approx(dp, abs=1e-12)
    assert report.paper_eo.value == pytest.approx(eo, abs=1e-12)


# ---- intervals, sums, form -------------------------------------------------------------------------------------


def test_intervals_are_those_of_the_pairs() -> None:
    report = evaluate_counts(counts_of(**FIXTURES["g_1"]))
    selection = report.groups["aa"].selection_rate  # 22 of 36
    assert [selection.low, selection.high] == pytest.approx([0.4486, 0.7521], abs=5e-4)
    gap = report.demographic_parity_difference  # Newcombe for 24/35 - 22/36 has both signs, so 0 is inside
    assert [gap.low, gap.high] == pytest.approx([0.0, 0.2819], abs=5e-4)
    assert gap.expected_at_parity == pytest.approx(2 * np.sqrt(0.6479 * 0.3521 / 35.5 / np.pi), rel=0.01)


def test_odds_intervals_hold_for_both_rates_together() -> None:
    report = evaluate_counts(counts_of(a=(300, 20, 100, 380), b=(100, 60, 300, 340)))
    one, two = report.equal_opportunity_difference, report.false_positive_rate_difference
    both = report.equalized_odds_difference
    assert [one.value, two.value, both.value] == pytest.approx([0.5, 0.1, 0.5])
    assert defined(both.low) < defined(one.low) and defined(both.high) > defined(one.high)
    mean = report.average_odds_difference
    assert defined(mean.low) < 0.3 < defined(mean.high)


def defined(value: float | None) -> float:
    assert value is not None
    return value


@given(st.lists(confusions, min_size=1, max_size=4))
def test_every_defined_value_is_inside_its_interval(groups: list[Confusion]) -> None:
    report = evaluate_counts(counts_of(**{f"g{i}": cells for i, cells in enumerate(groups)}))
    for name, gap in report.gaps.items():
        if gap.value is None:
            assert (gap.low, gap.high) == (None, None) and gap.reason
        else:
            assert gap.reason is None
            assert 0 <= defined(gap.low) <= gap.value + 1e-12 <= defined(gap.high) + 2e-12 <= 1 + 3e-12, name


@given(st.lists(st.tuples(confusions, confusions), min_size=2, max_size=3))
def test_counts_may_be_summed_in_any_order(groups: list[tuple[Confusion, Confusion]]) -> None:
    first = Counter(counts_of(**{f"g{i}": a for i, (a, _) in enumerate(groups)}))
    second = Counter(counts_of(**{f"g{i}": b for i, (_, b) in enumerate(groups)}))
    assert evaluate_counts(first + second) == evaluate_counts(second + first)


def test_the_report_is_plain_json() -> None:
    report = evaluate_counts(counts_of(**FIXTURES["g_1xg_2"]) | {("unknown", None, 1): 2})
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert set(document["gaps"]) == {*GAPS, "false_positive_rate_difference", "accuracy_difference"}
    assert document["groups"]["unknown"]["accuracy"]["reason"] == "no_labels"
    assert list(numbers(document))


def numbers(node: Any) -> Iterator[float]:
    """Every number in a JSON document."""
    if isinstance(node, dict):
        for value in node.values():
            yield from numbers(value)
    elif isinstance(node, int | float):
        yield node


def test_gaps_are_every_gap_field() -> None:
    report = evaluate_counts({})
    assert all(isinstance(gap, Gap) for gap in report.gaps.values())
    assert isinstance(report, FairnessReport) and len(report.gaps) == 10


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ((("a", 1, 1), -1), "cannot be negative"),
        ((("a", 2, 1), 1), "outside the 2 labels"),
        ((("a", None, 2), 1), "outside the 2 labels"),
        ((("a", 1, -1), 1), "outside the 2 labels"),
    ],
)
def test_impossible_cells_are_refused(cell: tuple[tuple[str, int | None, int], int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate_counts(dict([cell]))
