"""Cautions, each from figures made by hand that give cause for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.reports import change, changed_summary, compared
from trainer.report.run_cautions import cautions
from triggers.model.classifier import FrozenClassifier


@pytest.fixture
def summary(tmp_path: Path, image_model: FrozenClassifier) -> dict[str, Any]:
    """Strength 1 is recommended; nothing is wrong with it."""
    return changed_summary(tmp_path, image_model, wrong=5)


def shown(summary: dict[str, Any]) -> Any:
    return summary["candidates"][1]


def test_no_caution_without_a_cause(summary: dict[str, Any]) -> None:
    summary["comparisons"] = [compared(summary, "threshold", "shift +0.1", chosen=True)]
    assert cautions(summary) == []


def test_a_group_and_a_gap_that_went_the_wrong_way_are_named(summary: dict[str, Any]) -> None:
    summary["change"]["group_accuracy"]["women"] = change(-0.05, -0.09, -0.01)
    summary["change"]["equalized_odds"] = change(0.05, 0.01, 0.09)
    summary["change"]["demographic_parity"] = change(-0.1, -0.25, 0.01)
    found = cautions(summary)
    moved = "−.100 [−.250, +.010]"  # noqa: RUF001
    assert found[0].startswith(f"On test the demographic parity difference changed by {moved}, an interval")
    assert found[1].startswith("Accuracy for group women fell: −.050 [")  # noqa: RUF001
    assert found[2].startswith("The average odds difference, which was not trained for, rose")


def test_few_rows_are_named(summary: dict[str, Any]) -> None:
    summary["bare_counts"]["test"] = [["women", 0, 0, 29], ["women", 1, 1, 30]]
    shown(summary)["counts"]["test"] = summary["bare_counts"]["test"]
    assert cautions(summary) == ["Fewer than 30 test rows stand behind some rates: women, plain (n = 29)."]


@pytest.mark.parametrize("measure", ["balanced_accuracy", "recall", "accuracy"])
def test_a_budget_that_test_breaks_is_told_in_the_measure_of_selection(summary: dict[str, Any], measure: str) -> None:
    """Of 50 women of each label, 4 are broken and 1 is mended."""
    summary["config"]["select"]["measure"] = shown(summary)["selection"]["measure"] = measure
    summary["paired"] = [
        *(["women", label, *pair, n] for label in (0, 1) for pair, n in broken_and_mended(label)),
        *([group, label, label, label, 50] for group in ("men",) for label in (0, 1)),
    ]
    summary["change"]["accuracy"] = change(-0.03, -0.06, -0.002)
    said = cautions(summary)[0]
    assert said.startswith("On test the budget is broken: it loses ")
    assert said.endswith(" was allowed.") and "0.01" in said
    value, name = {
        "balanced_accuracy": (".030 [", "of balanced accuracy"),
        "recall": (".060 [", "of a recall"),
        "accuracy": (".030 [.002, .060]", "of accuracy"),
    }[measure]
    assert value in said and name in said


def test_a_budget_of_recalls_is_of_those_that_are_named(summary: dict[str, Any]) -> None:
    summary["config"]["select"] |= {"measure": "recall", "recall_groups": ["men"]}
    shown(summary)["selection"]["measure"] = "recall"
    summary["paired"] = [["women", 1, 1, 0, 10], ["women", 1, 1, 1, 40], ["men", 1, 1, 0, 2], ["men", 1, 1, 1, 48]]
    assert cautions(summary)[0].startswith("On test the budget is broken: it loses .040 [")
    summary["config"]["select"] |= {"recall_groups": [], "recall_labels": ["attractive"]}
    assert cautions(summary)[0].startswith("On test the budget is broken: it loses .200 [")


def broken_and_mended(label: int) -> list[tuple[tuple[int, int], int]]:
    return [((label, label), 40), ((label, 1 - label), 4), ((1 - label, label), 1), ((1 - label, 1 - label), 5)]


def test_a_budget_that_test_keeps_is_not_mentioned(summary: dict[str, Any]) -> None:
    shown(summary)["selection"]["budget"] = 0.0
    summary["paired"] = [["women", label, label, label, 50] for label in (0, 1)]
    assert not any("budget" in one for one in cautions(summary))


def test_a_recall_below_its_floor_on_test_is_named(summary: dict[str, Any]) -> None:
    """53 of 100 rare answers were found, 3 are."""
    for counts, hits in ((summary["bare_counts"], 53), (shown(summary)["counts"], 3)):
        counts["test"] = [["women", 0, 0, 880], ["women", 1, 0, 100 - hits], ["women", 1, 1, hits]]
    assert (
        "On test the recall of attractive (.530 → .030) and attractive in group women (.530 → .030) falls below 0.8 of"
        " the bare model's." in cautions(summary)
    )


def test_who_pays_is_named_with_the_paired_interval(summary: dict[str, Any]) -> None:
    summary["paired"] = [
        ["women", 1, 1, 1, 880],
        ["women", 1, 1, 0, 32],
        ["women", 1, 0, 0, 88],
        ["men", 1, 1, 1, 900],
        ["men", 1, 1, 0, 3],
        ["men", 1, 0, 0, 97],
    ]
    (found,) = (one for one in cautions(summary) if one.startswith("Who pays"))
    assert found.startswith("Who pays on test: the recall of attractive in group women: .912 → .880 (−.032 [−.0")  # noqa: RUF001
    assert found.endswith(", n = 1,000).")


def test_of_many_who_pay_the_clearest_are_named_and_the_others_counted(summary: dict[str, Any]) -> None:
    groups = [f"group {n}" for n in range(8)]
    summary["bare"]["test"]["groups"] = {group: {} for group in groups}
    summary["paired"] = [
        [group, 1, 1, after, n] for at, group in enumerate(groups) for after, n in ((1, 900), (0, 90 - at))
    ]
    found = [one for one in cautions(summary) if one.startswith("Who pays")]
    assert [f"group {at}:" in one for at, one in enumerate(found[:5])] == [True] * 5
    assert found[5:] == ["Who pays on test: 3 more labels and groups; the table of groups has them."]


def test_without_pairs_it_says_that_nobody_can_be_named(summary: dict[str, Any]) -> None:
    del summary["paired"]
    assert cautions(summary) == [
        "Test rows were not predicted in pairs ([report] enabled = false), so nobody who pays is named here."
    ]
    summary["bare_balanced_accuracy"]["test"]["value"] = 0.99
    assert cautions(summary)[0].startswith("On test the budget is broken: it loses .145 of balanced accuracy")


def test_answers_that_become_one_are_told(summary: dict[str, Any]) -> None:
    for counts, positives in ((summary["bare_counts"], 180), (shown(summary)["counts"], 22)):
        counts["test"] = [["women", 0, 0, 820], ["women", 1, 0, 180 - positives], ["women", 1, 1, positives]]
    found = [one for one in cautions(summary) if one.startswith("Answers collapse")]
    assert found == ["Answers collapse: the share of test images that get plain went .820 → .978."]


def test_a_model_with_one_answer_is_told(summary: dict[str, Any]) -> None:
    summary["bare_counts"]["test"] = [["women", 0, 0, 880], ["women", 1, 0, 114], ["women", 1, 1, 6]]
    found = "\n".join(cautions(summary))
    assert "The bare model itself answers plain to .994 of the test images." in found
    assert "is hardly above that of always answering plain, .880: go by balanced accuracy" in found


def test_a_gap_that_these_rows_cannot_show_is_told(summary: dict[str, Any]) -> None:
    gap = summary["bare"]["test"]["gaps"]["demographic_parity_difference"]
    gap |= {"value": 0.04, "low": 0.0, "high": 0.18, "expected_at_parity": 0.05}
    assert cautions(summary) == [
        "The bare model's demographic parity difference on test, .040 [.000, .180], may be none; noise alone would show"
        " about .050. 200 rows like these show a gap of .187 or more (80 % power)."
    ]


def test_controls_that_were_not_made_rule_nothing_out(summary: dict[str, Any]) -> None:
    summary["config"]["controls"]["enabled"] = False
    (found,) = cautions(summary)
    assert found.startswith("Controls were switched off ([controls] enabled = false)")


@pytest.mark.parametrize(("kind", "words"), [("overlay", "the mean of them"), ("hard", "one of them")])
def test_crossfitting_says_which_trigger_was_judged(summary: dict[str, Any], kind: str, words: str) -> None:
    summary["config"]["select"]["folds"] = 3
    summary["config"]["trigger"]["kind"] = kind
    (found,) = cautions(summary)
    assert found.startswith("Cross-fitted in 3 folds") and words in found


def test_a_control_that_does_as_well_is_named(summary: dict[str, Any]) -> None:
    as_good = compared(summary, "threshold", "shift -0.2", chosen=True)
    as_good["splits"] = shown(summary)["splits"]
    summary["comparisons"] = [as_good, as_good | {"chosen": False}]
    assert cautions(summary) == [
        "threshold shift (shift -0.2) does at least as well on test: gap .210 at accuracy .845."
    ]
