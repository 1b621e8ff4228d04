"""The published results: docs/results-2026-11.md says what the kept figures say, and the table's arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from examples.results_table import block, kept, seeds_table
from fairtrigger.demo.fairness_table import SHOWN_GAPS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def results(*pairs: tuple[float, float], recommended: str = "v2") -> dict[str, Any]:
    """A run per pair of a bare and a trigger's value, which all its figures have."""
    seeds = [
        {
            "seed": at,
            "recommended": recommended,
            "device": "cpu",
            "model_fingerprint": "sha256:00",
            "seconds": {"base_and_data": 1.0, "triggers": 2.0, "replay": 3.0},
            "fairness": {"versions": {"bare": report(bare), "v1": report(0.9), "v2": report(trigger)}},
        }
        for at, (bare, trigger) in enumerate(pairs)
    ]
    return {"command": "python -m examples.seeds run.toml", "device": "cpu", "seconds": 6.0, "seeds": seeds}


def report(value: float) -> dict[str, Any]:
    figure = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 40, "reason": None}
    rates = {"accuracy": figure, "selection_rate": figure}
    return {"n": 40, "overall": rates, "gaps": dict.fromkeys(SHOWN_GAPS, figure), "groups": {"a": {"n": 40, **rates}}}


def cells(table: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


@pytest.mark.parametrize("name", ["celeba", "hatexplain"])
def test_the_document_holds_the_tables_of_the_kept_figures(name: str) -> None:
    found = json.loads((DOCS / "results" / f"{name}.json").read_bytes())
    assert len(found["seeds"]) >= 3
    assert block(found) in (DOCS / "results-2026-11.md").read_text(encoding="utf-8")


def test_rows_are_each_seed_bare_and_under_its_trigger_then_the_means() -> None:
    rows = cells(seeds_table(results((0.5, 0.2), (0.3, 0.1))))
    assert [row[:2] for row in rows] == [
        ["0", "bare"],
        ["0", "trigger"],
        ["1", "bare"],
        ["1", "trigger"],
        ["mean", "bare"],
        ["mean", "trigger"],
        ["mean", "change"],
    ]
    assert rows[1][3] == ".200 [.100, .300]"
    # means .4 and .15; changes -.3 and -.2, whose standard error is .05: t for one degree of freedom is 12.706
    assert rows[4][3].startswith("**.400**")
    assert rows[6][3] == "**-.250** (-.885, +.385)"


def test_one_seed_has_no_interval_over_seeds() -> None:
    assert cells(seeds_table(results((0.5, 0.2))))[-1][3] == "**-.300**"


def test_a_seed_without_a_trigger_counts_as_unchanged() -> None:
    rows = cells(seeds_table(results((0.5, 0.2), recommended="bare")))
    assert rows[1][1] == "no trigger found"
    assert rows[-1][3] == "**+.000**"


def test_an_undefined_figure_says_why_and_leaves_no_mean() -> None:
    found = results((0.5, 0.2), (0.3, 0.1))
    gaps = found["seeds"][1]["fairness"]["versions"]["v2"]["gaps"]
    gaps["average_odds_difference"] = {"value": None, "low": None, "high": None, "n": 0, "reason": "no_labels"}
    rows = cells(seeds_table(found))
    assert rows[3][6] == "undefined (no_labels)"
    assert rows[5][6] == rows[6][6] == "undefined"
    assert rows[4][6].startswith("**.400**")


def test_what_is_kept_gives_the_same_table_without_the_other_versions() -> None:
    found = results((0.5, 0.2), (0.3, 0.1))
    small = kept(found)
    assert block(small) == block(found)
    assert set(small["seeds"][0]["fairness"]["versions"]) == {"bare", "v2"}
