"""Names for raw values, by a table of the configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from trainer.data.values.value_spelling import MOST_SHOWN, spelling_note

REST = "*"
ENTRY_REMEDY = f'Add one, or "{REST}" for all the rest'


class ValueNames:
    """A table from values to names; "*" stands for every value that it does not name. Counts what it is asked for."""

    def __init__(self, key: str, table: Mapping[str, str]) -> None:
        """`key` is the table's own in the configuration; without entries every value is its own name."""
        self.key = key
        self._table = table
        self._counts: Counter[str] = Counter()

    def __contains__(self, value: str) -> bool:
        """Whether the table names the value itself."""
        return value in self._table

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the order of the table; () without entries."""
        return tuple(dict.fromkeys(self._table.values()))

    def name(self, value: str, rows: int = 1) -> str | None:
        """The name of a value that so many rows have; None without an entry for it."""
        self._counts[value] += rows
        return self._find(value)

    def notes(self) -> tuple[str, ...]:
        """Notes on entries that no row has, and on values that differ only in spelling."""
        named = {value: name for value in self._counts if (name := self._find(value)) is not None}
        unused = [value for value in self._table if value != REST and value not in self._counts]
        spelling = spelling_note(self.key, self._counts, named)
        if not unused:
            return spelling
        found = [value for value, _ in self._counts.most_common(MOST_SHOWN)]
        return (f"data: {self.key} names {unused}, which no row has; the commonest values are {found}", *spelling)

    def _find(self, value: str) -> str | None:
        return self._table.get(value, self._table.get(REST)) if self._table else value
