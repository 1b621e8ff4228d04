"""Scores of validation counts: losses by every measure, floors of recalls, the gap that selection goes by, ranks."""

from __future__ import annotations

import pytest

from tests.trainer.evaluation.strata import judged
from trainer.config.run_config import Criterion, Measure, SelectConfig
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import (
    SelectionCriterion,
    ValidationSnapshot,
    best_of,
    recalls,
    require_known_names,
    selection_gap,
)
from triggers.errors import ConfigError
from triggers.metrics.fairness_report import evaluate_counts


def counts(a: int, b: int, wrong: int = 0) -> ConfusionCounts:
    """100 rows per group, all labelled as predicted but `wrong` of group a; a and b of them are positive."""
    return {("a", 1, 1): a, ("a", 0, 0): 100 - a - wrong, ("a", 1, 0): wrong, ("b", 1, 1): b, ("b", 0, 0): 100 - b}


def criterion_of(
    bare: ConfusionCounts | None = None,
    drop: float = 0.03,
    criterion: Criterion = "demographic_parity",
    measure: Measure = "accuracy",
) -> SelectionCriterion:
    select = SelectConfig(drop, measure)
    return SelectionCriterion(bare or counts(80, 20), criterion, select, pos_label=1, labels=2)


def test_scores_by_hand() -> None:
    """Label 1 loses 6 of 50 rows in group a and none of 50 in b; label 0 gains 4 of 100."""
    bare: ConfusionCounts = {
        ("a", 1, 1): 45, ("a", 1, 0): 5, ("b", 1, 1): 30, ("b", 1, 0): 20, ("a", 0, 0): 50, ("b", 0, 0): 40,
        ("b", 0, 1): 10,
    }  # fmt: skip
    now: ConfusionCounts = {
        ("a", 1, 1): 39, ("a", 1, 0): 11, ("b", 1, 1): 30, ("b", 1, 0): 20, ("a", 0, 0): 50, ("b", 0, 0): 44,
        ("b", 0, 1): 6,
    }  # fmt: skip
    losses: dict[Measure, float] = {"accuracy": 2 / 200, "balanced_accuracy": (0.06 - 0.04) / 2, "recall": 6 / 50}
    for measure, loss in losses.items():
        by = criterion_of(bare, measure=measure)
        score = by.score(now)
        assert score.loss == pytest.approx(loss)
        assert score.recall_ratio == pytest.approx(39 / 45)
        assert score.recall_cell == (1, "a")
        assert score.accuracy == pytest.approx(163 / 200)
        assert (by.bare.loss, by.bare.recall_ratio) == (0.0, 1.0)
        assert by.bare.gap == pytest.approx((45 - 40) / 100)


def test_recalls_are_of_every_label_everywhere_and_in_every_group() -> None:
    found = recalls({("a", 1, 1): 3, ("a", 1, 0): 1, ("b", 0, 0): 2, ("b", None, 1): 7})
    assert found == {(0, None): (2, 2), (0, "b"): (2, 2), (1, None): (3, 4), (1, "a"): (3, 4)}
    shared = recalls({("a + b", 1, 1): 3, ("none", 1, 0): 2}, overlapping=True)
    assert shared == {(1, None): (3, 5), (1, "a"): (3, 3), (1, "b"): (3, 3)}


def test_a_label_in_a_group_counts_from_ten_hits_on_and_over_all_rows_from_the_first() -> None:
    def ratio(hits: int, kept: int) -> float:
        """Of label 1 in group a; group b has many rows more."""
        rest: ConfusionCounts = {("b", 1, 1): 500, ("b", 0, 0): 500, ("a", 0, 0): 20}
        bare = {**rest, ("a", 1, 1): hits, ("a", 1, 0): 20 - hits}
        return criterion_of(bare).score({**rest, ("a", 1, 1): kept, ("a", 1, 0): 20 - kept}).recall_ratio

    assert ratio(10, 1) == pytest.approx(0.1)
    assert ratio(9, 0) == pytest.approx(500 / 509)
    bare: ConfusionCounts = {("a", 1, 1): 1, ("a", 1, 0): 9, ("b", 1, 0): 10, ("a", 0, 0): 500, ("b", 0, 0): 480}
    now: ConfusionCounts = {("a", 1, 0): 10, ("b", 1, 0): 10, ("a", 0, 0): 500, ("b", 0, 0): 480}
    score = criterion_of(bare).score(now)
    assert (score.recall_ratio, score.recall_cell) == (0.0, (1, None))
    assert criterion_of(now).score(bare).recall_ratio == 1.0  # a label that was never found can lose nothing


def test_odds_are_judged_by_the_mean_of_both_gaps() -> None:
    positives: ConfusionCounts = {("a", 1, 1): 9, ("a", 1, 0): 1, ("b", 1, 1): 5, ("b", 1, 0): 5}  # TPR .9 against .5
    negatives: ConfusionCounts = {("a", 0, 1): 2, ("a", 0, 0): 8, ("b", 0, 1): 0, ("b", 0, 0): 10}  # FPR .2 against 0
    row = {**positives, **negatives}
    assert criterion_of(row, criterion="equalized_odds").bare.gap == pytest.approx(0.3)


def test_more_than_two_labels_are_judged_by_the_mean_over_all_of_them() -> None:
    # selection of labels 0, 1, 2: a .5 .3 .2, b .5 .1 .4; differences 0, .2, .2, of which pos_label 0 alone shows none
    row: ConfusionCounts = {
        ("a", 0, 0): 5,
        ("a", 1, 1): 3,
        ("a", 2, 2): 2,
        ("b", 0, 0): 5,
        ("b", 1, 1): 1,
        ("b", 1, 2): 4,
    }
    by = SelectionCriterion(row, "demographic_parity", SelectConfig(), pos_label=0, labels=3)
    assert by.bare.gap == pytest.approx(0.4 / 3)
    assert selection_gap(evaluate_counts(row, labels=3), "demographic_parity")[0].endswith("mean over labels")
    # b has no row of label 2, so its odds cannot be measured; the label is not left out
    assert SelectionCriterion(row, "equalized_odds", SelectConfig(), pos_label=0, labels=3).bare.gap is None


def test_overlapping_groups_are_judged_by_their_distance_to_everyone() -> None:
    # selected: a 6 of 10, b 4 of 8, everyone 8 of 20
    row: ConfusionCounts = {
        ("a", 1, 1): 4, ("a", 0, 0): 4, ("b", 1, 1): 2, ("b", 0, 0): 4, ("a + b", 1, 1): 2, ("none", 0, 0): 4,
    }  # fmt: skip
    select = SelectConfig()
    by = SelectionCriterion(row, "demographic_parity", select, pos_label=1, labels=2, overlapping=True)
    assert by.bare.gap == pytest.approx((0.2 + 0.1) / 2)
    assert SelectionCriterion(row, "equalized_odds", select, pos_label=1, labels=2, overlapping=True).bare.gap == 0.0
    assert SelectionCriterion(row, "demographic_parity", select, 1, 2).bare.gap == pytest.approx(1.0)


def test_exactly_the_budget_is_kept() -> None:
    by = criterion_of(drop=0.03)
    assert by.feasible(by.score(counts(50, 50, wrong=6)))
    assert not by.feasible(by.score(counts(50, 50, wrong=7)))


def test_exactly_the_floor_is_kept() -> None:
    """Of 20 positives of group b, 16 or 15 are still found."""
    by = criterion_of(drop=0.5)
    kept, lost = ({**counts(80, n), ("b", 1, 0): 20 - n, ("b", 0, 0): 80} for n in (16, 15))
    assert by.feasible(by.score(kept)) and not by.feasible(by.score(lost))
    assert by.kept(by.score(kept)) == 0.8


def test_feasible_ones_rank_by_gap_then_loss_and_others_by_what_they_lack() -> None:
    by = criterion_of()
    fair, gap, costly = counts(50, 50), counts(70, 30), counts(50, 50, wrong=4)
    near, far = counts(50, 42, wrong=8), counts(45, 45, wrong=10)
    ordered = sorted((far, near, gap, costly, fair), key=lambda row: by.rank(by.score(row)))
    assert ordered == [fair, costly, gap, near, far]


def test_a_snapshot_replaces_a_worse_one_only() -> None:
    by = criterion_of()
    rows = (counts(90, 10), counts(50, 42, wrong=8), counts(45, 45, wrong=10), counts(60, 40), counts(60, 40))
    wide, near, far, good, same = (ValidationSnapshot(10, row, by.score(row)) for row in rows)
    assert by.better(near, far) and not by.better(far, near)
    assert by.better(wide, near) and by.better(near, None)
    assert not by.better(same, good)
    assert best_of(by, [far, wide, good, same]) == 2
    assert best_of(by, [far, near]) is None


def test_a_gap_that_cannot_be_measured_is_never_feasible() -> None:
    by = criterion_of({("a", 1, 1): 50, ("a", 0, 0): 50})
    assert by.bare.gap is None
    assert not by.feasible(by.bare)


def test_recalls_can_be_those_of_named_labels_and_groups_only() -> None:
    strata = [("a", 1, 100, [1, 0]), ("a", 0, 100, [0, 0]), ("b", 1, 100, [1, 1]), ("b", 0, 100, [0, 1])]
    select = SelectConfig(measure="recall", recall_groups=("b",))
    for labels, loss in (((), 1.0), ((1,), 0.0), ((0,), 1.0)):
        judge, (found,) = judged(strata, select, recall_labels=labels)
        assert judge.score(found).loss == loss
    require_known_names(SelectConfig(measure="recall", recall_labels=("yes",)), ("no", "yes"), ("a", "b"))
    with pytest.raises(ConfigError, match=r"recall_groups names 'c'; there are a, b\."):
        require_known_names(SelectConfig(measure="recall", recall_groups=("c",)), ("no", "yes"), ("a", "b"))
    with pytest.raises(ConfigError, match="name no row of validation"):
        judged(strata[:2], select)
