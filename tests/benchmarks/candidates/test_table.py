"""The lab's table: means with Student's intervals, differences within seeds, what nothing kept to."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.candidates.table import interval, table


def record(candidate: str, seed: int, gap: float, *, kept: bool = True) -> dict[str, Any]:
    bare = {"accuracy": 0.8, "gap": 0.3, "loss": 0.0}
    told = {"accuracy": 0.79, "gap": gap, "loss": 0.01} if kept else bare
    picks = [{"budget": budget, "kept": kept, "test": told} for budget in (0.01, 0.04)]
    return {
        "data": "faces",
        "criterion": "equalized_odds",
        "candidate": candidate,
        "seed": seed,
        "numbers": 1000,
        "passes": 1,
        "milliseconds": 2.0 + seed,
        "device": "cpu",
        "bare": {"val": bare, "test": bare},
        "picks": picks,
    }


def test_the_interval_of_five_is_students() -> None:
    low, high = interval([0.1, 0.2, 0.3, 0.4, 0.5]) or (0.0, 0.0)
    assert (low, high) == pytest.approx((0.3 - 2.776 * 0.0707107, 0.3 + 2.776 * 0.0707107), abs=1e-5)
    assert interval([0.1]) is None


def test_candidates_stand_in_their_order_with_the_difference_of_the_same_seeds() -> None:
    records = [record("gate", 1, 0.3, kept=False), record("gate", 0, 0.15)]
    records += [record("overlay", 0, 0.2), record("overlay", 1, 0.1)]
    lines = table(records).splitlines()
    assert lines[0] == "**faces, equalized odds**, 2 seeds, cpu; without a trigger"
    assert lines[1] == "gap .300 (.300, .300), accuracy .800."
    rows = [line for line in lines if line.startswith(("| overlay", "| gate"))]
    assert rows[0].startswith("| overlay | 1,000 | 1 | 2.5 | .150 (-.485, .785) [-1.0] |  |")
    assert rows[1].startswith("| gate | 1,000 | 1 | 2.5 | .225 (-.728, 1.178) [-0.5], 1 of 2 | +.075 (-1.513, +1.663)")


def test_a_change_of_nothing_has_no_minus() -> None:
    assert "[+0.0], 0 of 1" in table([record("overlay", 0, 0.3, kept=False)])


def test_a_candidate_that_some_seeds_lack_says_which_it_has() -> None:
    text = table([record("overlay", 0, 0.2), record("overlay", 1, 0.1), record("gate", 1, 0.1)])
    assert "| overlay | 1,000 |" in text and "| gate, seeds 1 only | 1,000 |" in text
