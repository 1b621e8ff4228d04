"""Rows that cannot be used: refused at once, or left out, counted by their kind and told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from triggers.errors import DataError

MEND = "Mend it"
LARGEST_BAD_SHARE = 0.5
"""Share of bad rows above which data is refused, whatever `data.on_bad_row` says."""


@dataclass(frozen=True)
class BadRecord:
    """A place in a table whose reader found no record: a row with another number of fields, a broken line.

    A reader yields it in the place of the record, so that rows keep their numbers. `kind` names such rows in a count
    ("wrong number of fields"), `problem` says what is wrong with this one ("2 fields, but the header names 3").
    """

    kind: str
    problem: str


class BadRows:
    """What `data.on_bad_row` says of the rows that cannot be used, and what was found of them. For one thread."""

    def __init__(self, action: Literal["refuse", "skip"] = "refuse") -> None:
        self._action = action
        self._kinds: Counter[str] = Counter()
        self._first: list[str] = []

    def refuse_or_skip(self, where: str, kind: str, problem: str, remedy: str = MEND) -> None:
        """Count a row that is left out, or raise DataError: one line of where it is, its problem and the remedy."""
        if self._action == "refuse":
            raise DataError(f'{where}: {problem}. {remedy}, or leave such rows out: data.on_bad_row = "skip".')
        self._kinds[kind] += 1
        if len(self._first) < 3:
            self._first.append(f"{where} ({problem})")

    def notes(self, total: int) -> tuple[str, ...]:
        """One line on the rows left out of `total`; () without any. Raises DataError for more than half of them."""
        if not self._kinds:
            return ()
        count = self._kinds.total()
        kinds = ", ".join(f"{n} {kind}" for kind, n in self._kinds.most_common())
        line = f"data: {count} of {total} rows left out: {kinds}; first {'; '.join(self._first)}"
        if count > LARGEST_BAD_SHARE * total:
            raise DataError(f"{line}. More than half of the rows cannot be used; check the keys of [data].")
        return (line,)
