"""Tables of [data] about the values of its columns: names for raw values, and edges that cut numbers into classes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from trainer.config.toml_schema import OneOrMore
from triggers.errors import ConfigError

LabelRule = Literal["cross", "any", "all"]
"""One label out of several columns: a class for each combination, or whether any or all of them hold."""
NameTable = dict[str, str | dict[str, str]]
"""Raw values to names, "*" for all the rest; or one such table for each of several columns."""
BinEdges = OneOrMore[int | float] | dict[str, OneOrMore[int | float]]
"""Rising numbers where the classes of a column begin, all but the first; or a list for each of several columns."""


def joint_map(table: NameTable) -> dict[str, str]:
    """The table for what all columns say together; empty where there is one for each column."""
    return {value: name for value, name in table.items() if isinstance(name, str)}


def column_map(table: NameTable, column: str) -> dict[str, str]:
    """The table of one of the columns; empty without one."""
    found = table.get(column)
    return found if isinstance(found, dict) else {}


def column_bins(edges: BinEdges, column: str) -> tuple[int | float, ...]:
    """The edges of one of the columns; empty without them. Edges without a column are those of the only one."""
    return edges.get(column, ()) if isinstance(edges, dict) else edges


def check_map(key: str, table: NameTable, columns: Sequence[str]) -> None:
    """Raise ConfigError unless a table is one of names, or one of such tables by column."""
    joint = joint_map(table)
    tables = {column: names for column, names in table.items() if isinstance(names, dict)}
    if joint and tables:
        raise ConfigError(f"{key} holds names and tables; give names, or a table for each column: [{key}.COLUMN].")
    _check_columns(key, tables, columns)
    if any(not name.strip() for names in (joint, *tables.values()) for name in names.values()):
        raise ConfigError(f"{key} maps a value to an empty name; give the name, or leave the rows out of the data.")


def check_bins(key: str, edges: BinEdges, columns: Sequence[str]) -> None:
    """Raise ConfigError unless the edges rise and it is clear which column they cut."""
    if not isinstance(edges, dict) and edges and len(columns) != 1:
        raise ConfigError(f"{key} is a list, but there are {len(columns)} columns; write it as [{key}] COLUMN = [...].")
    tables = edges if isinstance(edges, dict) else {column: edges for column in columns if edges}
    _check_columns(key, tables, columns)
    for column, found in tables.items():
        if not found or any(low >= high for low, high in pairwise(found)):
            raise ConfigError(f"{key} of {column!r} is {list(found)}; give rising numbers, one or more.")


def _check_columns(
    key: str, tables: dict[str, dict[str, str]] | dict[str, tuple[int | float, ...]], columns: Sequence[str]
) -> None:
    for column in tables:
        if column not in columns:
            raise ConfigError(f"{key}.{column} is for no column of data.{key[5:].partition('_')[0]} {list(columns)}.")
