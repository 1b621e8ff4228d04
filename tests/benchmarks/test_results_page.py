"""Tables and pictures from records: means with intervals, areas, missing seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.results_page import area, draw, inserted, page

GAP = "average_odds_difference"


def record(system: str, seed: int, budget: float, gap: float, accuracy: float) -> dict[str, Any]:
    base = {"base_accuracy": 0.80, f"base_{GAP}": 0.40}
    facts = {"data": "faces", "target": "Smiling", "group": "Male", "criterion": "equalized_odds", "n_test": 100}
    return {**facts, **base, "system": system, "objective": "gap", "seed": seed, "budget": budget,
            "kept": True, GAP: gap, "accuracy": accuracy}  # fmt: skip


def records(system: str, gaps: tuple[float, ...]) -> list[dict[str, Any]]:
    budgets = (0.005, 0.01, 0.02, 0.04)
    return [
        record(system, seed, budget, gap + 0.01 * seed, 0.80 - budget)
        for seed in (0, 1, 2)
        for budget, gap in zip(budgets, gaps, strict=True)
    ]


def test_a_cell_is_the_mean_with_its_interval_and_the_change_of_accuracy() -> None:
    text = page(records("overlay", (0.30, 0.20, 0.10, 0.05)))
    # values .20, .21, .22: mean .21, standard error .01 / sqrt(3), t = 4.303
    assert "| .210 (.185, .235) [-1.0] |" in text
    assert "## faces: Smiling given Male, equalized odds" in text
    assert "Without a trigger: .400 (.400, .400), accuracy .800 (.800, .800)." in text


def test_the_better_system_comes_first() -> None:
    text = page([*records("alpha", (0.39, 0.38, 0.37, 0.36)), *records("beta", (0.1, 0.1, 0.1, 0.1))])
    assert text.index("| beta") < text.index("| alpha")


def test_a_seed_that_kept_to_no_budget_counts_as_bare_and_is_said() -> None:
    bare = {GAP: 0.40, "accuracy": 0.80, "kept": False}
    some = [
        {**one, **bare} if (one["seed"], one["budget"]) == (1, 0.01) else one
        for one in records("overlay", (0.3, 0.2, 0.1, 0.05))
    ]
    # values .20, .40 (bare), .22 and changes -1, 0, -1
    assert "| .273 (-.000, .547) [-0.7], 2 of 3 |" in page(some)


def test_a_system_on_classifiers_that_were_fitted_again_is_measured_against_those_and_says_so() -> None:
    gaps = (0.30, 0.20, 0.10, 0.05)
    again = [{**one, f"base_{GAP}": 0.30} for one in records("AdvPost", gaps)]
    text = page([*again, *records("overlay", gaps), *records("patch", gaps)])
    assert "Without a trigger: .400 (.400, .400)" in text
    assert "| AdvPost, from .300 | gap |" in text and "| overlay | gap |" in text
    shares = {line.split(" | ")[0]: line.split(" | ")[-1] for line in text.splitlines() if "| gap |" in line}
    assert shares["| overlay"] == shares["| patch"] != shares["| AdvPost, from .300"]


def test_area_by_hand() -> None:
    gaps = {0.005: 0.2, 0.01: 0.2, 0.02: 0.1, 0.04: 0.1}
    expected = 0.005 * 0.3 + 0.005 * 0.2 + 0.01 * 0.15 + 0.02 * 0.1
    assert area(gaps, 0.4) == pytest.approx(expected / (0.04 * 0.4))
    assert area({}, 0.4) == pytest.approx(1.0)
    assert area({0.005: 0.9, 0.01: 0.9, 0.02: 0.9, 0.04: 0.9}, 0.4) == pytest.approx(1.0)  # worse than bare: stay bare


def test_an_ablation_has_a_row_per_value_beside_its_own_bare_model() -> None:
    def point(value: float | str, base: float) -> list[dict[str, Any]]:
        mark = {"ablation": "tuning ratio", "value": value, f"base_{GAP}": base}
        return [{**one, **mark} for one in records("overlay", (0.30, 0.20, 0.10, 0.05))]

    text = page([*point(10, 0.4), *point(2, 0.5), *point("another seed", 0.6)])
    rows = [line for line in text.splitlines() if "| overlay |" in line]
    assert [row.split(" | ")[0] for row in rows] == ["| 2", "| 10", "| another seed"]  # by size, not by spelling
    assert [row.split(" | ")[2] for row in rows] == [".500 (.500, .500)", ".400 (.400, .400)", ".600 (.600, .600)"]
    assert "by tuning ratio" in text and "Without a trigger" not in text


def test_tables_go_between_the_marks_and_the_words_stay() -> None:
    document = "Read this.\n<!-- tables -->\nold\n<!-- end -->\nAnd that.\n"
    once = inserted(document, "| new |\n")
    assert once == "Read this.\n<!-- tables -->\n| new |\n<!-- end -->\nAnd that.\n"
    assert inserted(once, "| new |\n") == once
    with pytest.raises(ValueError, match="no lines"):
        inserted("nothing here", "| new |\n")


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw([*records("overlay", (0.3, 0.2, 0.1, 0.05)), *records("AdvPost", (0.35, 0.3, 0.2, 0.15))], tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1275, 675)
