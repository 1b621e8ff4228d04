"""Rows from the records of a table: label, groups and partition out of the configured columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from trainer.config import DataConfig
from trainer.config.data_config import SplitConfig
from trainer.data.sources.bad_rows import BadRecord, BadRows
from trainer.data.sources.base import MENTION_GROUPS, SourceRow, pool_of, word_list
from trainer.data.sources.column_lookup import require_known
from trainer.data.sources.tables.column_values import BadValue, ColumnValues
from trainer.data.sources.tables.table import Record
from trainer.data.values.group_names import (
    cross_values,
    crossed_names,
    flag_index,
    flag_names,
    joint_labels,
    overlapping_cell,
)


class TableRows(NamedTuple):
    """The rows of a table; the names of their labels in order, () where it gives none; notes on the values."""

    rows: list[SourceRow]
    label_names: tuple[str, ...]
    notes: tuple[str, ...]


def table_rows(
    data: DataConfig,
    split: SplitConfig,
    names: Sequence[str],
    records: Iterable[Record | BadRecord],
    name: Callable[[int, Record], str],
    text: str,
    bad_rows: BadRows,
    place: Callable[[int], str],
) -> TableRows:
    """The rows of a table with columns `names`.

    `name` makes the id of a record, numbered from 1; `text` is the column of the inputs, where records have it: group
    words are looked for in it, and it is never empty; `place` says where a record is, numbered from 0. Records are
    taken one by one. Raises DataError.
    """
    labels = [ColumnValues(data, "label", known_column(name, names, "data.label", data.path)) for name in data.label]
    groups = [ColumnValues(data, "group", known_column(name, names, "data.group", data.path)) for name in data.group]
    label_of, group_of = _labels(data, labels), _groups(data, groups, text)
    pool = known_column(split.column, names, "split.column", data.path) if split.column else "split"
    found: list[tuple[str, ...]] = []
    rest: list[tuple[str, str, str, bool]] = []
    for number, record in enumerate(records, start=1):
        where = place(number - 1)
        try:
            usable = _usable(record, text)
            found.append(label_of(usable))
            part = pool_of(usable[pool], where) if pool in names else ""
            rest.append((name(number, usable), group_of(usable), part, True))
        except BadValue as bad:
            bad_rows.refuse_or_skip(where, bad.kind, bad.problem, bad.remedy)
            found[len(rest) :] = [("",) * len(labels)]
            rest.append((f"row {number}", "", "", False))
    made, label_names = _joined(data, labels, found)
    rows = [SourceRow(id, label, group, part, ok) for label, (id, group, part, ok) in zip(made, rest, strict=True)]
    return TableRows(rows, label_names, tuple(note for column in (*labels, *groups) for note in column.notes()))


def table_groups(data: DataConfig) -> tuple[str, ...]:
    """Group names of a table, as far as the configuration gives them."""
    if data.groups_overlap:
        return data.group
    if not data.group:
        return MENTION_GROUPS
    names = [ColumnValues(data, "group", column).names for column in data.group]
    return () if any(name.isdigit() for each in names for name in each) else crossed_names(names)


def known_column(name: str, names: Iterable[str], key: str, path: Path) -> str:
    """The column that a key of the configuration names. Raises DataError."""
    return require_known(name, names, f"{path} has no column {name!r} ({key})")


def _usable(record: Record | BadRecord, text: str) -> Record:
    if isinstance(record, BadRecord):
        raise BadValue(record.kind, record.problem)
    if not record.get(text, "given"):
        raise BadValue("missing input", f"column {text!r} is empty")
    return record


def _labels(data: DataConfig, columns: Sequence[ColumnValues]) -> Callable[[Record], tuple[str, ...]]:
    """A function from a record to the names of its label columns, or to the one name that `data.label_rule` makes."""
    if data.label_rule == "cross":
        return lambda record: tuple(column.name(record[column.column]) for column in columns)
    names = flag_names(data.label, data.label_rule)

    def joined(record: Record) -> tuple[str, ...]:
        flags = [flag for column in columns if (flag := column.flag(record[column.column])) is not None]
        return (names[flag_index(flags, data.label_rule)] if len(flags) == len(columns) else "",)

    return joined


def _joined(
    data: DataConfig, columns: Sequence[ColumnValues], found: Sequence[tuple[str, ...]]
) -> tuple[list[str], tuple[str, ...]]:
    """The label of every row, and the names of labels in their order, () where the table gives none."""
    if data.label_rule == "cross":
        return joint_labels(data.label, found, [column.names for column in columns])
    return [name for name, *_ in found], flag_names(data.label, data.label_rule)


def _groups(data: DataConfig, columns: Sequence[ColumnValues], text: str) -> Callable[[Record], str]:
    """A function from a record to its group."""
    words = word_list(data)
    if words:
        return lambda record: words.group(record[text])
    if not data.groups_overlap:
        return lambda record: cross_values(data.group, [column.name(record[column.column]) for column in columns])
    return lambda record: _overlapping(data.group, [column.flag(record[column.column]) for column in columns])


def _overlapping(columns: Sequence[str], flags: Sequence[bool | None]) -> str:
    return "" if None in flags else overlapping_cell(columns, [bool(flag) for flag in flags])
