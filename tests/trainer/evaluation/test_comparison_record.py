"""The records of what triggers are compared with: as JSON, and as rows of a short table."""

from __future__ import annotations

from tests.trainer.outcomes import counts
from trainer.evaluation.comparison_record import Comparison, counts_as_json, short_rows

BOTH = {"val": counts(3), "test": counts(4)}


def test_counts_become_sorted_cells() -> None:
    table = {("women", 1, 0): 2, ("men", None, 1): 3, ("men", 0, 1): 4}
    assert counts_as_json(table) == [["men", None, 1, 3], ["men", 0, 1, 4], ["women", 1, 0, 2]]


def test_a_short_table_has_every_baseline_the_chosen_controls_and_the_mean_of_repetitions() -> None:
    found = [
        Comparison("threshold", "shift +0", BOTH, 0.1),
        Comparison("threshold", "shift +0.5", BOTH, 0.1, chosen=True),
        Comparison("constant", "always no", BOTH, 0.0, chosen=True),
        Comparison("random", "seed 1000", BOTH, 0.1),
        Comparison("random", "seed 1001", BOTH, 0.1),
        Comparison("adv_post", "strength 1", BOTH, 2.0, 1.0, 10),
        Comparison("adv_post", "strength 5", BOTH, 2.0, 5.0, 10, chosen=True),
        Comparison("faap", "strength 0.3", BOTH, 2.0, 0.3, 10, chosen=True),
    ]
    rows = short_rows(found)
    assert [(name, chosen) for name, _, chosen in rows] == [
        ("threshold, shift +0.5", False),
        ("constant, always no", False),
        ("random trigger, mean of 2", False),
        ("AdvPost 1", False),
        ("AdvPost 5", True),
        ("FAAP 0.3", True),
    ]
    assert rows[2][1] == found[3:5]
