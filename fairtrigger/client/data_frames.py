"""Tables as people hold them - pandas, pyarrow or a list of rows - read by column, and results as the same kind."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from fairtrigger.client.results import PredictionResult
from triggers.errors import ConfigError

TableT = TypeVar("TableT")
"""A pandas DataFrame, a pyarrow Table, or a list of mappings."""


def column_values(table: Any, column: str) -> list[Any]:
    """The values of a column in order; what is missing is None. Raises ConfigError."""
    known = _columns(table)
    if known.count(column) != 1:
        count = known.count(column) or "no"
        raise ConfigError(f"The table has {count} column {column!r}; it has {', '.join(map(str, known))}.")
    if _is(table, "pandas", "DataFrame"):
        found = table[column]
        return [None if gone else value for value, gone in zip(found.tolist(), found.isna().tolist(), strict=True)]
    if _is(table, "pyarrow", "Table"):
        return list(table.column(column).to_pylist())
    return [row.get(column) for row in table]


def results_table(table: TableT, results: Sequence[PredictionResult]) -> TableT:
    """The results as a table of the kind, and in the order (and with the index) of the one that was asked about."""
    rows: list[Any] = result_rows(results)
    if _is(table, "pandas", "DataFrame"):
        return sys.modules["pandas"].DataFrame(rows, index=table.index)  # type: ignore[no-any-return, attr-defined]
    if _is(table, "pyarrow", "Table"):
        columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        return sys.modules["pyarrow"].table(columns)  # type: ignore[no-any-return]
    return rows  # type: ignore[return-value]


def result_rows(results: Sequence[PredictionResult]) -> list[dict[str, Any]]:
    """One flat row per result: label, one score_<label> each, version, digest, prediction_id, truncated, error."""
    labels = next((list(one.scores) for one in results if one.scores), [])
    twins = any(one.twin_label is not None for one in results)
    return [
        {
            "label": one.label,
            **{f"score_{label}": one.scores.get(label) for label in labels},
            "version": one.version,
            "digest": one.digest,
            "prediction_id": one.prediction_id,
            "truncated": one.truncated,
            **({"twin_label": one.twin_label} if twins else {}),
            "error": one.error and f"{one.error.code}: {one.error.reason}",
        }
        for one in results
    ]


def data_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as a pandas DataFrame. Raises ConfigError without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise ConfigError("A data frame needs pandas: pip install pandas.") from error
    return pandas.DataFrame(list(rows))


def _columns(table: Any) -> list[Any]:
    if _is(table, "pandas", "DataFrame"):
        return list(table.columns)
    if _is(table, "pyarrow", "Table"):
        return list(table.column_names)
    if isinstance(table, Sequence) and all(isinstance(row, Mapping) for row in table):
        return list(dict.fromkeys(name for row in table for name in row))
    raise ConfigError(f"{type(table).__name__} is no table here: give a pandas DataFrame, a pyarrow Table or dicts.")


def _is(table: Any, module: str, name: str) -> bool:
    """Whether it is of that class of a module, which then was imported by who made it."""
    return module in sys.modules and isinstance(table, getattr(sys.modules[module], name))
