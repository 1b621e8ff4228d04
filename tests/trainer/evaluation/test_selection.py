"""Selection on validation: the floor, ties, nothing feasible, the front."""

from __future__ import annotations

import pytest

from trainer.config.run_config import Criterion
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import SelectionCriterion, ValidationSnapshot, choose, selection_gap
from triggers.metrics.fairness_report import evaluate_counts

STRENGTHS = (1.0, 5.0, 20.0)


def counts(a: int, b: int, wrong: int = 0) -> ConfusionCounts:
    """100 rows per group, all labelled as predicted but `wrong` of group a; a and b of them are positive."""
    return {("a", 1, 1): a, ("a", 0, 0): 100 - a - wrong, ("a", 1, 0): wrong, ("b", 1, 1): b, ("b", 0, 0): 100 - b}


def judge(
    bare: ConfusionCounts | None = None, drop: float = 0.03, criterion: Criterion = "demographic_parity"
) -> SelectionCriterion:
    return SelectionCriterion(bare or counts(80, 20), criterion, drop, pos_label=1, labels=2)


def snapshots(by: SelectionCriterion, *rows: ConfusionCounts) -> list[ValidationSnapshot]:
    return [ValidationSnapshot(10, row, by.score(row)) for row in rows]


def test_scores_by_hand() -> None:
    by = judge(counts(80, 20, wrong=10))
    assert by.bare.accuracy == 0.95
    assert by.bare.gap == pytest.approx(0.6)
    assert by.floor == pytest.approx(0.92)


def test_odds_are_judged_by_the_mean_of_both_gaps() -> None:
    positives: ConfusionCounts = {("a", 1, 1): 9, ("a", 1, 0): 1, ("b", 1, 1): 5, ("b", 1, 0): 5}  # TPR .9 against .5
    negatives: ConfusionCounts = {("a", 0, 1): 2, ("a", 0, 0): 8, ("b", 0, 1): 0, ("b", 0, 0): 10}  # FPR .2 against 0
    row = {**positives, **negatives}
    assert judge(criterion="equalized_odds").score(row).gap == pytest.approx(0.3)


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
    by = SelectionCriterion(row, "demographic_parity", 0.03, pos_label=0, labels=3)
    assert by.bare.gap == pytest.approx(0.4 / 3)
    assert selection_gap(evaluate_counts(row, labels=3), "demographic_parity")[0].endswith("mean over labels")
    # b has no row of label 2, so its odds cannot be measured; the label is not left out
    assert SelectionCriterion(row, "equalized_odds", 0.03, pos_label=0, labels=3).bare.gap is None


def test_overlapping_groups_are_judged_by_their_distance_to_everyone() -> None:
    # selected: a 6 of 10, b 4 of 8, everyone 8 of 20
    row: ConfusionCounts = {
        ("a", 1, 1): 4, ("a", 0, 0): 4, ("b", 1, 1): 2, ("b", 0, 0): 4, ("a + b", 1, 1): 2, ("none", 0, 0): 4,
    }  # fmt: skip
    by = SelectionCriterion(row, "demographic_parity", 0.03, pos_label=1, labels=2, overlapping=True)
    assert by.bare.gap == pytest.approx((0.2 + 0.1) / 2)
    assert SelectionCriterion(row, "equalized_odds", 0.03, pos_label=1, labels=2, overlapping=True).bare.gap == 0.0
    assert SelectionCriterion(row, "demographic_parity", 0.03, pos_label=1, labels=2).bare.gap == pytest.approx(1.0)


def test_the_smallest_gap_above_the_floor_wins() -> None:
    by = judge()
    found = choose(by, snapshots(by, counts(70, 30), counts(60, 40), counts(45, 45, wrong=10)), STRENGTHS)
    assert found.best == 1  # the third is perfectly fair, but 5 points below the bare model
    assert found.notes == ("Never above the accuracy floor 0.9700 on validation, by strength: 20 (0.9500).",)


def test_exactly_on_the_floor_is_above_it() -> None:
    by = judge(drop=0.03)
    assert by.feasible(by.score(counts(50, 50, wrong=6)))
    assert not by.feasible(by.score(counts(50, 50, wrong=7)))


def test_nothing_above_the_floor_says_how_near_and_what_to_do() -> None:
    by = judge()
    found = choose(by, snapshots(by, counts(45, 45, 10), counts(45, 45, 8), counts(40, 40, 20)), STRENGTHS)
    assert (found.best, found.front) == (None, ())
    (note,) = found.notes
    assert "0.9700" in note and "strength 5 with 0.9600" in note and "select.max_accuracy_drop" in note


def test_a_tie_goes_to_the_first_and_is_said() -> None:
    by = judge()
    found = choose(by, snapshots(by, counts(70, 30), counts(60, 40), counts(40, 60)), STRENGTHS)
    assert found.best == 1
    assert found.notes == ("Strength 5 ties with 20 on validation and is taken because it was named first.",)


def test_equal_gaps_are_decided_by_accuracy() -> None:
    by = judge()
    found = choose(by, snapshots(by, counts(60, 40, wrong=4), counts(60, 40), counts(60, 40, wrong=2)), STRENGTHS)
    assert (found.best, found.notes) == (1, ())


def test_no_trigger_is_better_than_a_trigger_that_does_not_help() -> None:
    by = judge(bare=counts(55, 45))
    found = choose(by, snapshots(by, counts(60, 40)), STRENGTHS[:1])
    assert found.best is None
    assert "0.2000" in found.notes[0] and "0.1000" in found.notes[0]


def test_an_unmeasurable_gap_is_never_chosen() -> None:
    one_group: ConfusionCounts = {("a", 1, 1): 50, ("a", 0, 0): 50}
    by = judge(bare=one_group)
    found = choose(by, snapshots(by, one_group), STRENGTHS[:1])
    assert found.best is None
    assert "cannot measure" in found.notes[0]


def test_the_front_leaves_out_what_another_one_beats() -> None:
    by = judge(drop=0.2)
    rows = [counts(70, 30), counts(75, 20, wrong=5), counts(50, 45, wrong=5), counts(52, 48, wrong=2)]
    # accuracies 1, .975, .975, .99; gaps .4, .55, .05, .04
    found = choose(by, snapshots(by, *rows), (1.0, 2.0, 3.0, 4.0))
    assert found.front == (0, 3)


def test_below_the_floor_accuracy_comes_first() -> None:
    by = judge()
    near, far = snapshots(by, counts(50, 42, wrong=8), counts(45, 45, wrong=10))
    assert by.better(near, far) and not by.better(far, near)
    assert by.better(snapshots(by, counts(90, 10))[0], near)
    assert not by.better(near, near)
