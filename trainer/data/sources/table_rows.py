"""Rows from the records of a table: label, groups and partition out of the configured columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from trainer.config import DataConfig
from trainer.config.data_config import SplitConfig
from trainer.data.group_names import cross_values, joint_labels, overlapping_cell
from trainer.data.sources.bad_rows import BadRecord, BadRows
from trainer.data.sources.base import MENTION_GROUPS, SourceRow, pool_of, word_list
from trainer.data.sources.column_lookup import require_known
from triggers.errors import DataError
from triggers.metrics.label_values import FLAGS


def table_rows(
    data: DataConfig,
    split: SplitConfig,
    names: Sequence[str],
    records: Iterable[Mapping[str, str] | BadRecord],
    name: Callable[[int, Mapping[str, str]], str],
    text: str,
    bad_rows: BadRows,
    place: Callable[[int], str] | None = None,
) -> tuple[list[SourceRow], tuple[str, ...]]:
    """The rows of a table with columns `names`, and the names of their labels, () where the table gives none.

    `name` makes the id of a record, numbered from 1; `text` is the column that group words are looked for in; `place`
    says where a record is, numbered from 0. Records are taken one by one. Raises DataError.
    """
    labels = [known_column(name, names, "data.label", data.path) for name in data.label]
    group_of = _grouping(data, names, text)
    pool = known_column(split.column, names, "split.column", data.path) if split.column else "split"
    found, rest = [], []
    for number, record in enumerate(records, start=1):
        where = place(number - 1) if place else f"{data.path}, row {number}"
        if isinstance(record, BadRecord):
            bad_rows.refuse_or_skip(where, record.kind, record.problem)
            found.append(("",) * len(labels))
            rest.append((f"row {number}", "", "", False))
            continue
        found.append(tuple(record[column] for column in labels))
        part = pool_of(record[pool], where) if pool in names else ""
        rest.append((name(number, record), group_of(record, where), part, True))
    made, label_names = joint_labels(labels, found)
    rows = [
        SourceRow(id, label, group, part, usable) for label, (id, group, part, usable) in zip(made, rest, strict=True)
    ]
    return rows, label_names


def table_groups(data: DataConfig) -> tuple[str, ...]:
    """Group names of a table, as far as the configuration gives them."""
    if data.groups_overlap:
        return data.group
    return () if data.group else MENTION_GROUPS


def known_column(name: str, names: Iterable[str], key: str, path: Path) -> str:
    """The column that a key of the configuration names. Raises DataError."""
    return require_known(name, names, f"{path} has no column {name!r} ({key})")


def _grouping(data: DataConfig, names: Sequence[str], text: str) -> Callable[[Mapping[str, str], str], str]:
    """A function from a record and its location to its group."""
    columns = [known_column(name, names, "data.group", data.path) for name in data.group]
    words = word_list(data)
    if words:
        return lambda record, where: words.group(record[text])
    if not data.groups_overlap:
        return lambda record, where: cross_values(columns, [record[name] for name in columns])
    return lambda record, where: _overlapping(columns, [record[name] for name in columns], where)


def _overlapping(columns: Sequence[str], values: Sequence[str], where: str) -> str:
    if not all(values):
        return ""
    for column, value in zip(columns, values, strict=True):
        if value.lower() not in FLAGS:
            raise DataError(f"{where}: {column} is {value!r}; with data.groups_overlap it says 0 or 1.")
    return overlapping_cell(columns, [FLAGS[value.lower()] for value in values])
