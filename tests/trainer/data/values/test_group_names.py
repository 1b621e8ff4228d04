"""Several columns as one name."""

from __future__ import annotations

from trainer.data.values.group_names import (
    flag_group,
    flag_groups,
    flag_index,
    flag_names,
    joint_labels,
    label_names,
    overlapping_cell,
)

BITS = ("Blond", "Smiling", "Young")


def test_a_label_of_flags_counts_in_powers_of_two() -> None:
    names = flag_names(BITS)
    for number, name in enumerate(names):
        flags = [bool(number >> place & 1) for place in range(3)]
        assert flag_index(flags) == number
        assert name == (" & ".join(bit for bit, flag in zip(BITS, flags, strict=True) if flag) or "none")
    assert len(set(names)) == 8
    assert flag_names(("Blond",)) == ("not Blond", "Blond")


def test_the_first_column_varies_fastest() -> None:
    assert label_names([("a", "b"), ("x", "y", "z")]) == ("a & x", "b & x", "a & y", "b & y", "a & z", "b & z")


def test_groups_of_flags_cross_or_overlap() -> None:
    assert flag_group(("Male", "Young"), (True, False), overlapping=False) == "Male & not Young"
    assert flag_group(("Male", "Young"), (True, True), overlapping=True) == "Male + Young"
    assert flag_groups(("Male",), overlapping=False) == ("not Male", "Male")
    assert flag_groups(("Male", "Young"), overlapping=True) == ("Male", "Young")
    assert overlapping_cell(("Male", "Young"), (False, False)) == "none"


def test_a_column_of_flags_has_both_names_even_if_one_value_is_missing() -> None:
    labels, names = joint_labels(("toxic", "insult"), [("1", "1"), ("0", "1"), ("", "1")], ((), ()))
    assert names == ("none", "toxic", "insult", "toxic & insult")
    assert labels == ["toxic & insult", "insult", ""]
    assert joint_labels(("toxic",), [("yes",), ("no",)], [()]) == (["yes", "no"], ())
