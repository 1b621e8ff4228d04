"""Changes between two predictions of the same rows: values as the fairness reports have them, intervals that pair."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from trainer import formatting
from trainer.config.run_config import Criterion
from trainer.evaluation.paired_effects import paired_changes
from trainer.evaluation.selection import selection_gap
from triggers.metrics.fairness_report import FairnessReport, evaluate_counts
from triggers.metrics.paired import JointCounts


def drawn(
    seed: int, groups: tuple[str, ...] = ("f", "m"), labels: int = 2, n: int = 600, flip: float = 0.1
) -> JointCounts:
    """Rows whose first predictions depend on the group and whose second ones differ from the first now and then."""
    draw = np.random.default_rng(seed)
    cells: Counter[tuple[str, int | None, int, int]] = Counter()
    for _ in range(n):
        group, label = int(draw.integers(len(groups))), int(draw.integers(labels))
        wrong = draw.random() < 0.1 + 0.15 * group
        before = int((label + wrong) % labels)
        after = int(draw.integers(labels)) if draw.random() < flip else before
        cells[groups[group], label, before, after] += 1
    return dict(cells)


def report(paired: JointCounts, column: int, labels: int = 2, *, overlapping: bool = False) -> FairnessReport:
    counts: Counter[tuple[str, int | None, int]] = Counter()
    for (group, label, before, after), n in paired.items():
        counts[group, label, before if column == 2 else after] += n
    return evaluate_counts(counts, pos_label=1, labels=labels, overlapping=overlapping)


@pytest.mark.parametrize("groups", [("f", "m"), ("a", "b", "c")])
def test_values_are_the_differences_of_the_reports(groups: tuple[str, ...]) -> None:
    paired = drawn(1, groups)
    found = paired_changes(paired, groups, pos_label=1, labels=2)
    before, after = report(paired, 2), report(paired, 3)
    for name, gap in (
        ("demographic_parity", "demographic_parity_difference"),
        ("equalized_odds", "average_odds_difference"),
    ):
        values = [getattr(each, gap).value for each in (before, after)]
        assert found[name]["value"] == pytest.approx(values[1] - values[0], abs=1e-12)
    for group in groups:
        rates = [each.groups[group].accuracy.value for each in (before, after)]
        assert rates[0] is not None and rates[1] is not None
        assert found["group_accuracy"][group]["value"] == pytest.approx(rates[1] - rates[0], abs=1e-12)
    assert found["accuracy"]["low"] < found["accuracy"]["value"] < found["accuracy"]["high"]


def test_several_labels_are_averaged_against_the_rest() -> None:
    paired = drawn(2, labels=3)
    by_hand = []
    for column in (2, 3):
        rates = [
            [
                sum(n for cell, n in paired.items() if cell[0] == group and cell[column] == label)
                / sum(n for cell, n in paired.items() if cell[0] == group)
                for group in ("f", "m")
            ]
            for label in range(3)
        ]
        by_hand.append(np.mean([abs(a - b) for a, b in rates]))
    found = paired_changes(paired, ("f", "m"), pos_label=1, labels=3)
    assert found["demographic_parity"]["value"] == pytest.approx(by_hand[1] - by_hand[0], abs=1e-12)


def test_overlapping_groups_are_measured_against_everyone() -> None:
    paired: JointCounts = {("f", 1, 1, 0): 6, ("f + m", 1, 1, 1): 2, ("m", 1, 0, 0): 4, ("none", 1, 0, 0): 8}
    found = paired_changes(paired, ("f", "m"), pos_label=1, labels=2, overlapping=True)
    before = (abs(8 / 8 - 8 / 20) + abs(2 / 6 - 8 / 20)) / 2
    after = (abs(2 / 8 - 2 / 20) + abs(2 / 6 - 2 / 20)) / 2
    assert found["demographic_parity"]["value"] == pytest.approx(after - before)
    assert found["equalized_odds"] is None  # nobody has label 0


@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
def test_the_gap_is_the_one_that_selection_goes_by(labels: int, overlapping: bool, criterion: Criterion) -> None:
    """So says selection, so say the reports' words, so the changes."""
    paired = drawn(5, ("a", "b", "a + b", "none") if overlapping else ("a", "b", "c"), labels)
    reports = [report(paired, column, labels, overlapping=overlapping) for column in (2, 3)]
    chosen = [selection_gap(each, criterion) for each in reports]
    told = [formatting.objective_gap(each.to_dict(), criterion) for each in reports]
    assert [(name, gap.value) for name, gap in chosen] == [(name, gap["value"]) for name, gap in told]
    groups = ("a", "b") if overlapping else ("a", "b", "c")
    found = paired_changes(paired, groups, pos_label=1, labels=labels, overlapping=overlapping)[criterion]
    assert found["value"] == pytest.approx(told[1][1]["value"] - told[0][1]["value"], abs=1e-12)
    assert found["low"] <= found["value"] <= found["high"]


def test_nothing_changes_without_a_flip() -> None:
    found = paired_changes(drawn(3, flip=0.0), ("f", "m"), pos_label=1, labels=2)
    for name in ("accuracy", "demographic_parity", "equalized_odds"):
        assert (found[name]["value"], found[name]["low"] <= 0 <= found[name]["high"]) == (0.0, True)
    assert found["accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_interval_covers_about_as_often_as_it_says() -> None:
    """A fifth of the predictions are drawn anew, half of them right, instead of right with 1 - 0.1 - 0.15 / 2."""
    inside = 0
    for seed in range(60):
        found = paired_changes(drawn(100 + seed, n=300, flip=0.2), ("f", "m"), pos_label=1, labels=2)["accuracy"]
        truth = 0.2 * (0.5 - (1 - (0.1 + 0.075)))
        inside += found["low"] <= truth <= found["high"]
    assert 52 <= inside <= 60


def test_two_gaps_near_parity_show_no_change() -> None:
    """Resampled gaps of fair predictions are all above 0, constant predictions have none: that is no fall."""
    paired: JointCounts = {
        (group, label, before, 1): 50 + (group == "f") for group in ("f", "m") for label in (0, 1) for before in (0, 1)
    }
    back: JointCounts = {(group, label, after, before): n for (group, label, before, after), n in paired.items()}
    for each in (paired, back):
        found = paired_changes(each, ("f", "m"), pos_label=1, labels=2)
        for criterion in ("demographic_parity", "equalized_odds"):
            assert found[criterion]["low"] < -0.02
            assert found[criterion]["high"] > 0.02


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_clear_fall_leaves_out_0(overlapping: bool) -> None:
    paired: JointCounts = {
        ("f", 1, 1, 1): 60,
        ("f", 1, 0, 0): 40,
        ("m", 1, 0, 1): 50,
        ("m", 1, 0, 0): 40,
        ("m", 1, 1, 1): 10,
    }
    found = paired_changes(paired, ("f", "m"), pos_label=1, labels=2, overlapping=overlapping)["demographic_parity"]
    assert found["low"] < found["value"] < found["high"] < -0.1


def test_pairing_narrows_the_interval() -> None:
    paired = drawn(4)
    found = paired_changes(paired, ("f", "m"), pos_label=1, labels=2)["accuracy"]
    apart = [report(paired, column).overall.accuracy for column in (2, 3)]
    assert apart[0].high is not None and apart[0].low is not None
    assert found["high"] - found["low"] < 0.8 * (apart[0].high - apart[0].low)


def test_one_group_has_no_gap() -> None:
    found = paired_changes({("f", 1, 1, 0): 5, ("f", 0, 0, 0): 5}, ("f",), pos_label=1, labels=2)
    assert found["demographic_parity"] is None
    assert found["accuracy"]["value"] == -0.5
