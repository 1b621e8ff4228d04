"""Tables of the reports, from counts made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.outcomes import image_config, image_outcome
from tests.trainer.reports import changed_summary, compared, material, summarised
from trainer.report import report_tables
from trainer.report.model_card import model_card
from trainer.report.report_tables import comparisons
from trainer.report.selection_tables import nearest_rivals, selection_rules, selection_tests
from triggers.model.classifier import FrozenClassifier


@pytest.fixture
def summary(tmp_path: Path, image_model: FrozenClassifier) -> dict[str, Any]:
    return summarised(material(image_config(tmp_path), image_model, image_outcome()))


def test_confusion_counts_before_and_after(summary: dict[str, Any]) -> None:
    table = report_tables.confusion(summary)
    assert [row[:5] for row in table.rows] == [
        ["men", "plain", "50", "30 → 30", "20 → 20"],
        ["men", "attractive", "50", "41 → 21", "9 → 29"],
        ["women", "plain", "50", "30 → 30", "20 → 20"],
        ["women", "attractive", "50", "0 → 0", "50 → 50"],
    ]
    assert table.rows[1][5:] == [".180 [.098, .308]", ".580 [.442, .706]"]
    assert table.marked == {1}
    assert report_tables.worst_cell(summary, summary["bare_counts"]["test"]) == (
        "men, attractive: .180 [.098, .308] right, n = 50"
    )


def test_overlapping_groups_are_margins(summary: dict[str, Any]) -> None:
    summary["bare"]["test"]["groups_overlap"] = True
    for counts in (summary["bare_counts"]["test"], summary["candidates"][1]["counts"]["test"]):
        counts.append(["men + women", 1, 1, 10])
    rows = {(row[0], row[1]): row[2] for row in report_tables.confusion(summary).rows}
    assert rows["men", "attractive"] == rows["women", "attractive"] == "60"


def test_flips_are_counts_and_shares(summary: dict[str, Any]) -> None:
    row = {"n": 50, "to_positive": 5, "from_positive": 0, "between_others": 0, "mended": 4, "broken": 1}
    summary["flips"] = {"groups": {"men": row}, "everyone": row}
    table = report_tables.flip_rates(summary)
    assert table.head == ["group", "n", "to attractive", "away from attractive", "became right", "became wrong"]
    assert table.rows[0] == ["men", "50", "5, .100 [.043, .214]", "0, .000 [.000, .071]", "4, .080 [.032, .188]",
                             "1, .020 [.004, .105]"]  # fmt: skip


def test_every_row_is_as_wide_as_its_head(summary: dict[str, Any]) -> None:
    for table in (
        report_tables.key_figures,
        report_tables.rates_table,
        report_tables.confusion,
        report_tables.comparisons,
        report_tables.data_table,
        selection_tests,
        nearest_rivals,
    ):
        made = table(summary)
        assert {len(row) for row in made.rows} == {len(made.head)}


def test_balanced_accuracy_stands_beside_accuracy(tmp_path: Path, image_model: FrozenClassifier) -> None:
    """A whole paired run: 20 of 100 rows of one label are mended, so the change is half of theirs."""
    found = changed_summary(tmp_path, image_model)
    name, before, after, change = report_tables.key_figures(found).rows[1]
    assert (name, before[:4], after[:4], change[:5]) == ("balanced accuracy", ".595", ".695", "+.100")
    assert float(change.split("[+")[1].split(",")[0]) > 0.05
    table = report_tables.comparisons(found)
    at = list(table.head).index("balanced accuracy")
    assert [row[at][:4] for row in table.rows] == [".595", ".645", ".695", ".745"]
    assert [row[1] for row in table.rows[1:]] == [f"strength {s}, certified" for s in (0, 1, 5)]


def test_the_tests_of_selection_are_listed_from_the_weakest_on(summary: dict[str, Any]) -> None:
    summary["candidates"].reverse()
    summary["candidates"][0] |= {"p_value": 0.0001}
    summary["candidates"][1] |= {"p_value": 0.0312}
    table = selection_tests(summary)
    assert [row[0] for row in table.rows] == ["0", "1", "5"]
    assert [row[4] for row in table.rows] == ["–", ".031", "< .001"]  # noqa: RUF001
    assert table.marked == {1}
    assert {row[-1] for row in table.rows} == {"certified"}


def test_the_rules_name_budget_floor_and_what_was_not_compared(summary: dict[str, Any]) -> None:
    rules = selection_rules(summary)
    assert "at most 0.01 of balanced accuracy may be lost beside the bare model on 200 validation rows" in rules[0]
    assert "fall below 0.8 of the bare model's" in rules[0] and "delta 0.1" in rules[1]
    made = [compared(summary, name, "", chosen=True) for name in ("threshold", "constant", "random")]
    last = selection_rules(summary | {"comparisons": made})[-1]
    assert last.endswith("Not made in this run: trigger for utility alone.")


def test_the_nearest_rivals_have_their_figures_of_validation(summary: dict[str, Any]) -> None:
    ones = [
        compared(summary, "threshold", "shift +0.1", chosen=True, selection={"reason": "its gap is .4"}),
        compared(summary, "threshold", "shift +0.2"),
        compared(summary, "adv_post", "strength 1", chosen=True),
        compared(summary, "random", "seed 1"),
    ]
    table = nearest_rivals(summary | {"comparisons": ones, "rival": 3})
    assert [tuple(row[:2]) for row in table.rows] == [
        ("trigger", "strength 1"), ("threshold shift", "shift +0.1"), ("AdvPost", "strength 1"),
        ("random trigger", "seed 1"),
    ]  # fmt: skip
    assert table.rows[1][-1] == "its gap is .4"
    assert table.rows[3][-1] == "does as well as any trigger"
    assert table.rows[1][4].startswith(".400 [") and table.marked == {3}


def test_rules_on_outputs_stand_among_the_rivals_with_their_words(summary: dict[str, Any]) -> None:
    promising, refused = {"status": "promising", "reason": "small"}, {"status": "not recommended", "reason": "too dear"}
    ones = [
        compared(summary, "hardt", "gap at most 0.1", chosen=True, selection=promising),
        compared(summary, "hardt", "gap at most 0", selection=promising),
        compared(
            summary, "oxonfair", "80% of the gap", chosen=True, selection={"status": "certified", "reason": "small"}
        ),
        compared(summary, "frappe", "strength 2", chosen=True, selection=promising),
        compared(summary, "linear_post", "strength 2", chosen=True, selection=refused),
        compared(summary, "adv_post", "strength 3", chosen=True, selection=promising),
    ]
    beside = {"better": 2, "equal": [3], "unproved": [], "retrained": [5]}
    table = nearest_rivals(summary | {"comparisons": ones, "alternatives": beside})
    assert [row[-1] for row in table.rows[1:]] == [
        "a measure: it needs everybody's group", "certified, recommended instead of a trigger",
        "promising, does as well", "too dear", "promising, a clearly smaller gap",
    ]  # fmt: skip
    assert table.marked == {2}
    listed = comparisons(summary | {"comparisons": ones, "alternatives": beside})
    assert [row[0] for row in listed.rows].count("Hardt, groups known") == 1
    (rule,) = (rule for rule in selection_rules(summary | {"comparisons": ones}) if rule.startswith("Rules on"))
    assert "(OxonFair, FRAPPE and LinearPost)" in rule and "never recommended" in rule
    assert not any(rule.startswith("Rules on") for rule in selection_rules(summary))


def test_the_card_has_the_headings_of_a_model_card(summary: dict[str, Any]) -> None:
    card = model_card(summary)
    headings = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert headings == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
    ]  # fmt: skip
    assert "| val | women | 50 | 50 | 100 |" in card
    assert "strength 1, taken after step 10 of 30" in card


def test_the_card_says_how_the_bundle_compares_with_its_source(summary: dict[str, Any]) -> None:
    assert "compared with" not in model_card(summary)
    record = {"oracle": "onnxruntime", "inputs": 24, "largest_difference": 2.1e-7, "flips": 0}
    card = model_card(summary | {"comparison": record})
    assert "Bundle: compared with onnxruntime on 24 inputs: largest difference 2e-07, 0 flips." in card
    loud = model_card(summary | {"comparison": record | {"accepted": True}})
    assert loud.count("Bundle: NOT THE SAME AS ITS SOURCE, which was accepted: compared with onnxruntime") == 2
