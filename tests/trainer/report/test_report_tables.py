"""Tables of the reports, from counts made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.outcomes import image_config, image_outcome
from tests.trainer.reports import material, summarised
from trainer.report import report_tables
from trainer.report.model_card import model_card
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
        report_tables.group_rates,
        report_tables.confusion,
        report_tables.comparisons,
        report_tables.data_table,
    ):
        made = table(summary)
        assert {len(row) for row in made.rows} == {len(made.head)}


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
