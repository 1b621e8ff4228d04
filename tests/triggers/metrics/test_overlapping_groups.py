"""Overlapping groups as strings: what is written is read again, and odd spellings do no harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.metrics.overlapping_groups import cell_of, groups_of, identities_of

names = st.lists(st.sampled_from(["black", "female", "other_religions", "LGBTQ", "a+b"]), unique=True)


@given(names)
def test_what_is_written_is_read_again(identities: list[str]) -> None:
    assert identities_of(cell_of(identities)) == tuple(identities)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("black + female", ("black", "female")),
        ("black", ("black",)),
        ("none", ("none",)),
        ("unknown", ("unknown",)),
        ("black + black", ("black",)),
        ("black + none", ("black",)),
        ("black + unknown", ("black",)),
        ("black +  + female", ("black", "female")),
        ("none + unknown", ("none",)),
    ],
)
def test_a_cell_is_shown_under_its_groups(cell: str, expected: tuple[str, ...]) -> None:
    assert groups_of(cell) == expected


def test_none_and_unknown_are_no_identities() -> None:
    assert identities_of("none") == identities_of("unknown") == ()
    assert cell_of([]) == "none"
