"""Sources that are tables: of any kind of file, and a `datasets` folder written by `save_to_disk`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.config import DataConfig
from trainer.config.data_config import SplitConfig
from trainer.config.run_config import Modality
from trainer.data.sources.bad_rows import BadRecord, BadRows
from trainer.data.sources.base import SourceRow
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.input_files import InputFiles
from trainer.data.sources.table import Record, Table
from trainer.data.sources.table_rows import known_column, table_groups, table_rows
from triggers.errors import ConfigError, DataError
from triggers.storage.regular_file import read_regular


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
        self._input = _input_column(table.names, data, modality)
        holds_text = table.holds_text(self._input)
        if modality == "text" and not holds_text:
            raise DataError(f"Column {self._input!r} of {data.path} does not hold texts; set data.input.")
        self._paths = modality == "image" and holds_text
        records = _with_mapped_split(table.records(self._columns(data, split)), split)
        found = table_rows(data, split, table.names, records, self._id, self._input, bad_rows, table.where)
        self.rows: Sequence[SourceRow] = found.rows
        self.label_names, self.group_names = found.label_names, table_groups(data)
        self.notes = (*table.notes, *found.notes)

    def read(self, row: int) -> bytes | str:
        """The image file's bytes, or the text."""
        value = self._table.value(row, self._input)
        if self.modality == "text":
            return value or ""
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return value
        try:
            return self._files.read(value or "")
        except DataError as error:
            raise DataError(f"{self._table.where(row)}: {error}") from error

    def stamp(self, row: int) -> FileStamp | None:
        """Stamp of the image file, or of the input's place in the table."""
        return self._files.stamp(self.rows[row].id) if self._paths else self._table.stamp(row, self._input)

    def _columns(self, data: DataConfig, split: SplitConfig) -> list[str]:
        """The columns that are needed of every row."""
        wanted = [*data.label, *data.group, split.column or "split"]
        if self._paths or data.group_words or data.group_words_file:
            wanted.append(self._input)
        return [name for name in dict.fromkeys(wanted) if name in self._table.names]

    def _id(self, number: int, record: Record) -> str:
        return record[self._input] if self._paths else self._table.row_id(number - 1)


def _input_column(names: Sequence[str], data: DataConfig, modality: Modality) -> str:
    usual = ("path", "image") if modality == "image" else ("text",)
    wanted = data.input or next((name for name in usual if name in names), usual[0])
    return known_column(wanted, names, "data.input", data.path)


def _with_mapped_split(records: Iterable[Record | BadRecord], split: SplitConfig) -> Iterator[Record | BadRecord]:
    """The records, the values of the split's column as `split.column_map` has them."""
    column, known = split.column or "split", split.column_map or {}
    for record in records:
        if isinstance(record, BadRecord) or column not in record:
            yield record
        else:
            yield {**record, column: known.get(record[column], record[column])} if known else record


class ArrowDataset:
    """A `datasets` folder: an image or text column, a label and group columns; a DatasetDict brings its own splits."""

    def __init__(self, data: DataConfig, split: SplitConfig, modality: Modality, bad_rows: BadRows) -> None:
        self.modality = modality
        self._table = _load_arrow(data.path)
        names = self._table.column_names
        self._input = known_column(data.input or modality, names, "data.input", data.path)
        if modality == "image":
            self._table = _undecoded(self._table, self._input)
        plain = self._table.select_columns([name for name in names if name != self._input or modality == "text"])
        found = table_rows(
            data, split, names, _records(plain), lambda number, _: f"row {number}", self._input, bad_rows
        )
        self.rows: Sequence[SourceRow] = found.rows
        self.label_names, self.group_names = (
            found.label_names or _class_names(self._table, data.label),
            table_groups(data),
        )
        self.notes = found.notes

    def read(self, row: int) -> bytes | str:
        """The image file's bytes, or the text."""
        value = self._table[row][self._input]
        if isinstance(value, str):
            return value
        stored: bytes | None = value["bytes"]
        return stored if stored is not None else read_regular(value["path"])

    def stamp(self, row: int) -> FileStamp | None:
        """None: a column of images may point to other files."""
        return None


def _records(table: Any) -> Iterator[Mapping[str, str]]:
    classes = {name: _class_names(table, [name]) for name in table.column_names}
    for record in table:
        yield {name: _cell(value, classes[name]) for name, value in record.items()}


def _class_names(table: Any, columns: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes of the only column, in their order; () where it has none."""
    names = getattr(table.features[columns[0]], "names", ()) if len(columns) == 1 else ()
    return tuple(name.strip() for name in names)


def _cell(value: object, classes: Sequence[str]) -> str:
    """A cell as a CSV file would have it; a class is its name, and -1 is none."""
    if classes and isinstance(value, int):
        return classes[value] if value >= 0 else ""
    return _plain(value)


def _load_arrow(path: Path) -> Any:
    """A Dataset, or a DatasetDict joined into one with its keys in column `split`."""
    try:
        import datasets
    except ImportError as error:
        raise ConfigError('data.format = "datasets" needs an extra: pip install "fairtrigger[datasets]".') from error
    try:
        loaded = datasets.load_from_disk(str(path))
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise DataError(f"{path} is no folder written by datasets' save_to_disk: {error}") from error
    if not isinstance(loaded, datasets.DatasetDict):
        return loaded
    parts = [_with_split(part, name) for name, part in loaded.items()]
    return datasets.concatenate_datasets(parts)


def _with_split(part: Any, name: str) -> Any:
    kept = part.remove_columns("split") if "split" in part.column_names else part
    return kept.add_column("split", [name] * len(part))


def _undecoded(table: Any, column: str) -> Any:
    import datasets

    if not isinstance(table.features[column], datasets.Image):
        raise DataError(f"Column {column!r} holds {table.features[column]}, not images; set data.input.")
    return table.cast_column(column, datasets.Image(decode=False))


def _plain(value: object) -> str:
    """A cell as a CSV file would have it: missing is empty, true and false are 1 and 0."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value).strip()
