"""Values to indices: by name, by the data's own order, as numbers, and never by a silent guess."""

from __future__ import annotations

import pytest

from trainer.data.labels import indices
from triggers.errors import DataError


def found(*values: str) -> list[tuple[str, str]]:
    return [(value, f"row {number}") for number, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("values", "names", "layout", "expected"),
    [
        (("b", "a", "b"), (), (), (("a", "b"), [1, 0, 1])),
        (("b", "a"), ("b", "a"), (), (("b", "a"), [0, 1])),
        (("0.0", "1.0"), ("female", "male"), (), (("female", "male"), [0, 1])),
        (("not Male", "Male"), (), ("not Male", "Male"), (("not Male", "Male"), [0, 1])),
        (("Male", "not Male"), ("female", "male"), ("not Male", "Male"), (("female", "male"), [1, 0])),
        (("Male", "not Male"), ("Male", "not Male"), ("not Male", "Male"), (("Male", "not Male"), [0, 1])),
    ],
)
def test_values_are_named(
    values: tuple[str, ...],
    names: tuple[str, ...],
    layout: tuple[str, ...],
    expected: tuple[tuple[str, ...], list[int]],
) -> None:
    assert indices(found(*values), names, layout, "names") == expected


def test_two_values_never_share_a_name_unnoticed() -> None:
    with pytest.raises(DataError, match="'Male' and 'not Male' would both be 'Male'"):
        indices(found("Male", "not Male"), ("Male", "Female"), ("not Male", "Male"), "data.group_names")


def test_a_value_without_a_name_is_refused_or_none() -> None:
    with pytest.raises(DataError, match="row 2 has the value 'x', which is none of labels"):
        indices(found("a", "x"), ("a", "b"), (), "labels")
    assert indices(found("a", "x", ""), ("a", "b"), (), "labels", missing_ok=True)[1] == [0, None, None]
