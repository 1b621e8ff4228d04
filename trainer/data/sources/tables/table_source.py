"""A source that is a table, of any kind of file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.config import DataConfig
from trainer.config.data_config import SplitConfig
from trainer.config.run_config import Modality
from trainer.data.sources.bad_rows import BadRecord, BadRows
from trainer.data.sources.base import SourceRow
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.input_files import InputFiles
from trainer.data.sources.tables.table import InputRecords, Record, Table
from trainer.data.sources.tables.table_rows import known_column, table_groups, table_rows
from triggers.errors import DataError


class TableSource:
    """A table with a column of texts, of images or of their paths, a label, group columns and, if wanted, a split.

    Image paths are names in `files`. Inputs stay in their files until they are read.
    """

    def __init__(
        self,
        table: Table,
        files: InputFiles,
        data: DataConfig,
        split: SplitConfig,
        modality: Modality,
        bad_rows: BadRows,
    ) -> None:
        self.modality, self._table, self._files = modality, table, files
        self._input = input_column(table, data.input, data.path, modality)
        self._paths = modality == "image" and table.kind(self._input) == "text"
        records = _with_mapped_split(table.records(self._columns(data, split)), split)
        found = table_rows(data, split, table.names, records, self._id, self._input, bad_rows, table.where)
        self.rows: Sequence[SourceRow] = found.rows
        named = table.class_names(data.label[0]) if len(data.label) == 1 else ()
        self.label_names, self.group_names = found.label_names or named, table_groups(data)
        self.notes: Sequence[str] = (*table.notes, *found.notes)

    def read(self, row: int) -> bytes | str:
        """The image file's bytes, or the text."""
        value = self.rows[row].id if self._paths else self._table.value(row, self._input)
        return input_content(value, self.modality, self._files, self._table, row)

    def stamp(self, row: int) -> FileStamp | None:
        """Stamp of the image file, or of the input's place in the table."""
        return self._files.stamp(self.rows[row].id) if self._paths else self._table.stamp(row, self._input)

    def _columns(self, data: DataConfig, split: SplitConfig) -> list[str]:
        """The columns that are needed of every row."""
        wanted = [*data.label, *data.group, split.column or "split"]
        if self._table.kind(self._input) == "text":
            wanted.append(self._input)
        return [name for name in dict.fromkeys(wanted) if name in self._table.names]

    def _id(self, number: int, record: Record) -> str:
        return record[self._input] if self._paths else self._table.row_id(number - 1)


def input_column(table: InputRecords, named: str | None, path: Path, modality: Modality) -> str:
    """The column of the inputs in the table at `path`, the one that is named or of a usual name. Raises DataError."""
    usual = ("path", "image") if modality == "image" else ("text",)
    wanted = named or next((name for name in usual if name in table.names), usual[0])
    kind = table.kind(known_column(wanted, table.names, "data.input", path))
    if kind not in ("text", modality):
        raise DataError(f"Column {wanted!r} of {path} holds {kind}, not {modality}s; set data.input.")
    return wanted


def input_content(value: Any, modality: Modality, files: InputFiles, table: InputRecords, row: int) -> bytes | str:
    """The text, or the bytes of the image file, that a row's input stands for. Raises DataError."""
    if modality == "text":
        return value or ""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    try:
        return files.read(value or "")
    except DataError as error:
        raise DataError(f"{table.where(row)}: {error}") from error


def _with_mapped_split(records: Iterable[Record | BadRecord], split: SplitConfig) -> Iterator[Record | BadRecord]:
    """The records, the values of the split's column as `split.column_map` has them."""
    column, known = split.column or "split", split.column_map or {}
    for record in records:
        if isinstance(record, BadRecord) or column not in record:
            yield record
        else:
            yield {**record, column: known.get(record[column], record[column])} if known else record
