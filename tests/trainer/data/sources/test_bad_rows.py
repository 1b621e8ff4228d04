"""Rows that cannot be used: one line that refuses them, or a line that counts them."""

from __future__ import annotations

import pytest

from trainer.data.sources.bad_rows import BadRows
from triggers.errors import DataError


def test_a_bad_row_is_refused_in_one_line_with_the_remedy() -> None:
    with pytest.raises(DataError, match=r'^a\.csv, row 3: label \'x\' is unknown\. Mend it, or leave .* = "skip"\.$'):
        BadRows().refuse_or_skip("a.csv, row 3", "unknown label", "label 'x' is unknown")


def test_rows_left_out_are_counted_by_kind_and_the_first_three_named() -> None:
    bad = BadRows("skip")
    assert bad.notes(10) == ()
    for row in (2, 3, 5):
        bad.refuse_or_skip(f"row {row}", "unknown label", f"label '{row}'")
    bad.refuse_or_skip("row 6", "wrong number of fields", "2 fields")
    assert bad.notes(10) == (
        "data: 4 of 10 rows left out: 3 unknown label, 1 wrong number of fields; "
        "first row 2 (label '2'); row 3 (label '3'); row 5 (label '5')",
    )


def test_more_than_half_of_the_rows_are_refused_all_the_same() -> None:
    bad = BadRows("skip")
    for row in range(6):
        bad.refuse_or_skip(f"row {row}", "unknown label", "no")
    assert len(bad.notes(12)) == 1
    with pytest.raises(DataError, match=r"6 of 11 rows left out.*More than half"):
        bad.notes(11)
