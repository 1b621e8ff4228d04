"""How well picks hold, on runs made by hand: a trigger that mends a group, one that breaks its budget, one too many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.certified import (
    ORDERS,
    RecordedRun,
    compare_orders,
    drawn,
    held_out,
    in_sequence,
    kept_table,
    orders_table,
    power_table,
    share,
)

ROWS = 8000


@pytest.fixture
def run(tmp_path: Path) -> RecordedRun:
    """Group 1 is missed in four of ten positives. Strength 1 finds half of those, 5 all of them; 20 says yes always.

    After the first of two validations every trigger is the bare model.
    """
    draw = np.random.default_rng(0)
    labels, cells, luck = draw.integers(2, size=ROWS), draw.integers(2, size=ROWS), draw.random(ROWS)
    missed = (labels == 1) & (cells == 1)
    bare = np.where(missed & (luck < 0.4), 0, labels)
    half, all_found = np.where(missed & (luck < 0.2), 0, labels), labels
    last = np.stack([half, all_found, np.ones_like(labels)])
    path = tmp_path / "made-demographic_parity-3.npz"
    np.savez_compressed(
        path,
        labels=labels.astype(np.uint8),
        cells=cells.astype(np.uint8),
        bare=bare.astype(np.uint8),
        predictions=np.stack([np.stack([bare] * 3), last]).astype(np.uint8),
        steps=np.array([5, 10]),
        strengths=np.array([1.0, 5.0, 20.0]),
        cell_names=np.array(["a", "b"]),
        label_names=np.array(["no", "yes"]),
    )
    return RecordedRun.read(path)


def test_a_file_is_read_with_its_name(run: RecordedRun) -> None:
    assert (run.task, run.criterion, run.seed) == ("made", "demographic_parity", 3)
    assert run.predictions.shape == (2, 3, ROWS)
    assert (len(run.rows), run.rows.groups, run.strengths) == (ROWS, ("a", "b"), (1.0, 5.0, 20.0))


def test_the_product_chooses_and_other_rows_tell_what_it_cost(run: RecordedRun) -> None:
    (found,) = held_out([run], None, 1, seed=0)
    assert (found.status, found.run) == ("certified", run)
    assert found.loss == pytest.approx(-0.1, abs=0.02)
    assert found.gap < 0.05 < found.bare_gap
    assert "| all | 1.00 (0.21 to 1.00), 1 of 1 | none | 0 of 1 |" in kept_table("halves", [found], 0.01)
    again = [one.loss for one in drawn([run], 1500, 3, seed=0)]
    assert len(again) == 3 and len(set(again)) == 1  # all rows tell the same of the same pick


def test_orders_of_tests_by_hand() -> None:
    """Strengths 1 and 3 pass after the last of two validations, 2 does not; 1 and 2 pass after the first."""
    p = {(1, 0): 0.01, (1, 1): 0.5, (1, 2): 0.02, (0, 0): 0.02, (0, 1): 0.03, (0, 2): 0.9}
    rising, backwards, forwards, at_once = (order(p, 2, 3, 0.1) for order in ORDERS.values())
    assert rising == {(1, 0)}
    assert backwards == {(1, 0), (0, 0), (1, 2)}
    assert forwards == {(0, 0), (1, 0), (0, 1)}
    assert at_once == {(1, 0), (1, 2)}
    assert in_sequence([(0, 2), (0, 0)], p, 0.1) == set()


def test_orders_are_compared_on_the_same_draw(run: RecordedRun) -> None:
    found = compare_orders([run], 1500, seed=0)
    assert found == dict.fromkeys(ORDERS, (1, 0))


def test_tables_are_tables(run: RecordedRun) -> None:
    made = [*power_table([run], 1, 0), *orders_table([run], 0)]
    assert any(line.startswith("| made | demographic parity | 1 of 1, gap 0.1") for line in made)
    assert sum(line.startswith("| last step, strengths rising (the product) | 1.00 (0.00)") for line in made) == 1
    assert share(0, 0) == "none"
