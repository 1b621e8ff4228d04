"""Names built from several columns: a label, a crossed group, or the overlapping groups of one row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from trainer.config.value_config import LabelRule
from triggers.metrics.label_values import FLAGS
from triggers.metrics.overlapping_groups import cell_of

NO_LABEL = "none"


def cross_values(columns: Sequence[str], values: Sequence[str]) -> str:
    """One group name out of one value per column; "" when any of them is missing. A bare number gets its column."""
    if len(columns) == 1 or not all(values):
        return values[0] if all(values) else ""
    return " & ".join(
        f"{column}={value}" if value.isdigit() else value for column, value in zip(columns, values, strict=True)
    )


def crossed_names(per_column: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All combinations of the columns' names, the last column varying fastest."""
    return tuple(" & ".join(names) for names in product(*per_column))


def flag_group(columns: Sequence[str], flags: Sequence[bool], *, overlapping: bool) -> str:
    """The group of one row out of yes/no columns: "Male & not Young", or "Male" where groups overlap."""
    if overlapping:
        return overlapping_cell(columns, flags)
    return " & ".join(name if flag else f"not {name}" for name, flag in zip(columns, flags, strict=True))


def flag_groups(columns: Sequence[str], *, overlapping: bool) -> tuple[str, ...]:
    """The names of the groups of yes/no columns: all combinations, or where groups overlap the columns."""
    return tuple(columns) if overlapping else crossed_names([(f"not {name}", name) for name in columns])


def overlapping_cell(columns: Sequence[str], members: Sequence[bool]) -> str:
    """The overlapping groups of one row: the columns it is a member of, in their order, or "none"."""
    return cell_of([column for column, member in zip(columns, members, strict=True) if member])


def label_of(parts: Sequence[str]) -> str:
    """One label out of one part per column; an empty part stands for "no", and only empty parts give "none"."""
    return " & ".join(filter(None, parts)) or NO_LABEL


def label_names(per_column: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All labels, the FIRST column varying fastest; of yes/no columns, index = sum of 2**i over those that say yes."""
    return tuple(label_of(parts[::-1]) for parts in product(*reversed(per_column)))


def flag_names(columns: Sequence[str], rule: LabelRule = "cross") -> tuple[str, ...]:
    """The labels of yes/no columns: "not Smiling", "Smiling" for one; "none", "Blond", "Smiling", "Blond & Smiling".

    By the rule `any` or `all` two, "not (toxic or threat)" and "toxic or threat".
    """
    if rule != "cross":
        joined = (" or " if rule == "any" else " and ").join(columns)
        return f"not ({joined})", joined
    return (f"not {columns[0]}", columns[0]) if len(columns) == 1 else label_names([("", name) for name in columns])


def flag_index(flags: Sequence[bool], rule: LabelRule = "cross") -> int:
    """Index of one row's label in `flag_names`."""
    if rule != "cross":
        return int(any(flags) if rule == "any" else all(flags))
    return sum(flag << place for place, flag in enumerate(flags))


def joint_labels(
    columns: Sequence[str], found: Sequence[tuple[str, ...]], named: Sequence[tuple[str, ...]]
) -> tuple[list[str], tuple[str, ...]]:
    """The label of every row of a table, given its values in the label columns, and the names in order.

    `named` has all values of a column in their order, or () where they are not known. One column keeps its values.
    Several cross: a column of flags gives its name or nothing, a column of known values gives the value, any other
    "column=value". A row with a missing value has the label "".
    """
    if len(columns) == 1:
        return [value for (value,) in found], named[0]
    parts = [
        _parts(column, {values[at] for values in found}, names)
        for at, (column, names) in enumerate(zip(columns, named, strict=True))
    ]
    made = {
        values: label_of([part[value] for part, value in zip(parts, values, strict=True)]) if all(values) else ""
        for values in set(found)
    }
    return [made[values] for values in found], label_names([tuple(dict.fromkeys(part.values())) for part in parts])


def _parts(column: str, values: set[str], names: Sequence[str]) -> dict[str, str]:
    """The part of the label that each value of a label column gives, in the order of the parts."""
    present = values - {""}
    if all(value.lower() in FLAGS for value in present):
        return {"0": "", "1": column, **{value: column if FLAGS[value.lower()] else "" for value in present}}
    return {name: name for name in names} or {value: f"{column}={value}" for value in sorted(present)}
