"""Two sources that are tables: a CSV manifest, and a `datasets` folder written by `save_to_disk`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.config import DataConfig
from trainer.config.data_config import SplitConfig
from trainer.config.run_config import Modality
from trainer.data.sources.bad_rows import BadRows
from trainer.data.sources.base import SourceRow
from trainer.data.sources.csv_file import CsvFile
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.table_rows import known_column, table_groups, table_rows
from triggers.errors import ConfigError, DataError
from triggers.storage.regular_file import read_regular


class CsvManifest:
    """A CSV file with a header: an image path or a text, a label, group columns and, if wanted, a split.

    Image paths start from `data.root`, or from the file's own folder. Texts stay in the file until they are read.
    """

    def __init__(self, data: DataConfig, split: SplitConfig, modality: Modality, bad_rows: BadRows) -> None:
        self.modality = modality
        self._table = CsvFile(data.path)
        default = "path" if modality == "image" else "text"
        self._input = known_column(data.input or default, self._table.names, "data.input", data.path)
        self._root = data.root or data.path.parent
        found = table_rows(data, split, self._table.names, self._table.records(), self._id, self._input, bad_rows)
        self.rows: Sequence[SourceRow] = found.rows
        self.label_names, self.group_names, self.notes = found.label_names, table_groups(data), found.notes

    def read(self, row: int) -> bytes | str:
        """The image file's bytes, or the text."""
        if self.modality == "text":
            return self._table.record(row)[self._input]
        path = self._root / self.rows[row].id
        try:
            return read_regular(path)
        except OSError as error:
            raise DataError(f"Row {row + 1}: cannot read the image {path}: {error.strerror}.") from error

    def stamp(self, row: int) -> FileStamp | None:
        """Stamp of the image file, or of the text's place in the table."""
        return self._table.stamp(row) if self.modality == "text" else FileStamp.of(self._root / self.rows[row].id)

    def _id(self, number: int, record: Mapping[str, str]) -> str:
        return record[self._input] if self.modality == "image" else f"row {number}"


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
