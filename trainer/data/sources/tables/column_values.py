"""The values of one column of a table as the configuration has them: missing, cut into classes, named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trainer.config import DataConfig
from trainer.config.value_config import column_bins, column_map, joint_map
from trainer.data.sources.bad_rows import MEND
from trainer.data.values.number_bins import bin_index, bin_names, read_number, whole_edges
from trainer.data.values.value_names import ENTRY_REMEDY, ValueNames
from trainer.data.values.value_spelling import is_missing
from triggers.metrics.label_values import FLAGS


class BadValue(ValueError):
    """A value that its row cannot be used with; `kind` is for a count of such rows."""

    def __init__(self, kind: str, problem: str, remedy: str = MEND) -> None:
        super().__init__(problem)
        self.kind, self.problem, self.remedy = kind, problem, remedy


class ColumnValues:
    """The names that a label or group column gives to its rows, by its bins, then by its own table of names.

    The only column of a label or group, if it has neither, keeps its values: what is missing is told apart when all
    names are known.
    """

    def __init__(self, data: DataConfig, what: Literal["label", "group"], column: str) -> None:
        columns = data.label if what == "label" else data.group
        tables, edges = (data.label_map, data.label_bins) if what == "label" else (data.group_map, data.group_bins)
        table = column_map(tables, column)
        self.column = column
        self._what = what
        self._edges = column_bins(edges, column)
        self._classes = bin_names(self._edges)
        self._table = ValueNames(f"data.{what}_map.{column}", table)
        self._stated = {*table, *(joint_map(tables) if len(columns) == 1 else ())}
        self._raw = len(columns) == 1 and not self.names

    @property
    def names(self) -> tuple[str, ...]:
        """All names in their order; () where the values are their own names."""
        return self._table.names or self._classes

    def name(self, value: str) -> str:
        """The name of a value; "" where it is missing. Raises BadValue."""
        if self._raw:
            return value
        if is_missing(value, self._stated):
            return ""
        name = self._table.name(value if value in self._stated else self._cut(value))
        if name is None:
            problem = f"{self.column} {value!r} has no entry in {self._table.key}"
            raise BadValue("value without an entry", problem, ENTRY_REMEDY)
        return name

    def flag(self, value: str) -> bool | None:
        """Whether a column of 0 and 1 holds; None where the value is missing. Raises BadValue."""
        name = self.name(value)
        if is_missing(name, ()):
            return None
        if name.lower() not in FLAGS:
            remedy = f"Mend it, or map the values to 0 and 1: [{self._table.key}]"
            raise BadValue("value that is not 0 or 1", f"{self.column} is {name!r}, not 0 or 1", remedy)
        return FLAGS[name.lower()]

    def notes(self) -> Sequence[str]:
        """Notes on the column's own table of names."""
        return self._table.notes() if self._table.names else ()

    def _cut(self, value: str) -> str:
        if not self._edges:
            return value
        whole = whole_edges(self._edges)
        number = read_number(value, whole=whole)
        if number is not None:
            return self._classes[bin_index(number, self._edges)]
        if whole and read_number(value, whole=False) is not None:
            remedy = (
                f"Cut real numbers with edges that have a decimal point: data.{self._what}_bins = [{self._edges[0]}.0]"
            )
            raise BadValue("bad number", f"{self.column} {value!r} is no whole number", remedy)
        raise BadValue("bad number", f"{self.column} {value!r} is no number")
