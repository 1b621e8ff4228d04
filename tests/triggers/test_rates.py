"""Counts to rates by hand: who is counted, over what, and why a rate is undefined."""

from __future__ import annotations

import pytest

from triggers.errors import DataError
from triggers.rates import NO_IDENTITY, NO_LABELS, UNKNOWN_GROUP, ZERO_DENOMINATOR, Rate, Table

COUNTS = {("f", 1, 1): 6, ("f", 0, 1): 2, ("f", 0, 0): 4, ("m", 1, 0): 3, ("m", None, 1): 5, ("empty", 1, 1): 0}


def parts(rate: Rate) -> tuple[list[int], list[int], tuple[int, int]]:
    return rate.hits.tolist(), rate.n.tolist(), rate.everyone


def test_a_table_holds_every_count_once_per_group_and_once_for_everyone() -> None:
    table = Table.of(COUNTS, 2)
    assert table.names == ("f", "m")  # an empty cell makes no group
    assert table.n.tolist() == [12, 8, 20] and table.labelled.tolist() == [12, 3, 15]
    assert table.cells[0].tolist() == [[4, 2], [0, 6], [0, 0]]
    assert table.cells[1].tolist() == [[0, 0], [3, 0], [0, 5]]
    assert (table.cells[0] + table.cells[1]).tolist() == table.cells[2].tolist()


def test_rates_by_hand() -> None:
    table = Table.of(COUNTS, 2)
    assert parts(table.selection(1)) == ([8, 5], [12, 8], (13, 20))
    assert parts(table.accuracy()) == ([10, 0], [12, 3], (10, 15))
    assert parts(table.true_positive(1)) == ([6, 0], [6, 3], (6, 9))
    assert parts(table.false_positive(1)) == ([2, 0], [6, 0], (2, 6))


def test_a_rate_over_nothing_has_a_reason() -> None:
    table = Table.of({("f", 1, 1): 1, ("m", None, 1): 1}, 2)
    rate = table.false_positive(1)
    assert (rate.estimate(0, 0.95).value, rate.estimate(0, 0.95).reason) == (None, ZERO_DENOMINATOR)
    assert (rate.estimate(1, 0.95).value, rate.estimate(1, 0.95).reason) == (None, NO_LABELS)
    assert rate.excluded() == {"f": ZERO_DENOMINATOR, "m": NO_LABELS}
    assert (rate.unlabelled, rate.overall(0.95).reason) == (False, ZERO_DENOMINATOR)
    none = Table.of({("f", None, 1): 1, ("m", None, 0): 1}, 2).accuracy()
    assert (none.unlabelled, none.overall(0.95).reason) == (True, NO_LABELS)
    assert not Table.of({}, 2).accuracy().unlabelled


def test_unknown_rows_are_in_the_overall_rate_and_in_no_comparison() -> None:
    rate = Table.of({("f", 1, 1): 3, ("unknown", 1, 1): 2, ("unknown", 1, 0): 2, ("m", 1, 0): 1}, 2).selection(1)
    assert rate.everyone == (5, 8) and rate.excluded() == {"unknown": UNKNOWN_GROUP}
    assert rate.comparable().names == ("f", "m") and parts(rate.comparable()) == ([3, 0], [3, 1], (3, 4))


def test_of_overlapping_groups_a_row_counts_in_each_and_once_for_everyone() -> None:
    table = Table.of({("a", 1, 1): 1, ("a + b", 1, 1): 2, ("none", 1, 0): 4}, 2, overlapping=True)
    assert table.names == ("a", "b", "none") and table.n.tolist() == [3, 2, 4, 7]
    assert table.selection(1).excluded() == {"none": NO_IDENTITY}
    assert Table.of({("none", 1, 0): 4}, 2).selection(1).excluded() == {}


@pytest.mark.parametrize("cell", [("f", 2, 0), ("f", 0, 2), ("f", -1, 0), ("f", None, -1)])
def test_a_label_or_prediction_that_is_no_class_is_refused(cell: tuple[str, int | None, int]) -> None:
    with pytest.raises(DataError, match="group 'f'"):
        Table.of({cell: 1}, 2)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be negative"):
        Table.of({("f", 0, 0): -1}, 2)
