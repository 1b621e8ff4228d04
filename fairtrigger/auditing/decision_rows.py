"""Rows of decisions, one at a time, from a file or a data frame, and what they say about themselves."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairtrigger.auditing.audited_counts import value_text
from fairtrigger.score_record import read_score_record
from triggers.errors import DataError


@dataclass(frozen=True)
class DecisionTable:
    """Columns, rows as text by column ("" is missing), where they come from, and what `fairtrigger score` noted."""

    names: Sequence[str]
    source: Mapping[str, Any]
    notes: Mapping[str, Any]
    table: Any

    def rows(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Each row's place, for errors, and its values. Raises DataError for a row that cannot be read."""
        if isinstance(self.table, _Frame):
            yield from self.table.rows(columns)
            return
        from trainer.data import BadRecord

        for number, record in enumerate(self.table.records(columns)):
            if isinstance(record, BadRecord):
                raise DataError(f"{self.table.where(number)}: {record.problem}. Mend it, or leave the row out.")
            yield f"row {number + 1}", record

    def column(self, name: str, what: str) -> str:
        """The column of this name. Raises DataError with the nearest names if there is none."""
        if name in self.names:
            return name
        near = difflib.get_close_matches(name, self.names, 3, 0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(self.names)}."
        raise DataError(f"There is no column {name!r} for the {what}; {hint}")


def open_decisions(source: Any) -> DecisionTable:
    """A CSV, JSON lines or Parquet file by its path, or a pandas data frame. Raises DataError."""
    if hasattr(source, "itertuples") and hasattr(source, "columns"):
        frame = _Frame(source)
        return DecisionTable(frame.names, {"kind": "frame", "rows": len(source)}, {}, frame)
    path = Path(source)
    from trainer.config import DataConfig
    from trainer.data import ENDINGS, open_table

    if not path.is_file():
        raise DataError(f"There is no file {path}. Give the score file, or a table of your own decisions.")
    kind = next((kind for kind, endings in ENDINGS.items() if path.suffix.lower() in endings), None)
    if kind is None:
        known = ", ".join(ending for endings in ENDINGS.values() for ending in endings)
        raise DataError(f"{path.name} may be anything: give a file named {known}.")
    # the trainer's reader of tables; it is asked for columns by name, so that those of its configuration do not matter
    table = open_table(kind, DataConfig(path=path, format="auto", label=("label",), group=("group",)))
    facts = {"kind": "file", "name": path.name, "sha256": _sha256(path), "bytes": path.stat().st_size}
    return DecisionTable(list(table.names), facts, _notes(path), table)


def _notes(path: Path) -> Mapping[str, Any]:
    """What `fairtrigger score` recorded of its run; {} without it. Raises DataError."""
    text = read_score_record(path)
    try:
        found = {} if text is None else json.loads(text)
    except ValueError as error:
        raise DataError(f"What `fairtrigger score` noted about {path} is no JSON: {error}.") from error
    return found if isinstance(found, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


class _Frame:
    """A pandas data frame as rows of text."""

    def __init__(self, frame: Any) -> None:
        self.names = [str(each) for each in frame.columns]
        repeated = {name for name in self.names if self.names.count(name) > 1}
        if repeated:
            raise DataError(f"The data frame has the column {min(repeated)!r} twice: rename one.")
        self._frame = frame

    def rows(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
        places = {name: self.names.index(name) for name in columns}
        for number, values in enumerate(self._frame.itertuples(index=False, name=None)):
            yield f"row {number + 1}", {name: _cell(values[place]) for name, place in places.items()}


def _cell(value: Any) -> str:
    """A value as text; missing ones (None, NaN, NaT, NA) are ""."""
    missing = value is None or type(value).__name__ in ("NaTType", "NAType") or value != value
    return "" if missing else value_text(value)
