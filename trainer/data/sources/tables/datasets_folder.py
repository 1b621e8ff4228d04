"""A folder that the package `datasets` wrote by `save_to_disk`; a DatasetDict has its keys in column `split`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.tables.table import Record, leaves, record_of, typed_value
from triggers.errors import ConfigError, DataError


class DatasetsFolder:
    """Records by column, dotted where columns have parts. Raises DataError; ConfigError without package `datasets`."""

    notes: Sequence[str] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._table = _undecoded(_loaded(path))
        self._kinds = dict(_kinds(self._table.features))
        self.names: Sequence[str] = list(self._kinds)
        names = {column: getattr(feature, "names", None) for column, feature in self._table.features.items()}
        self._classes = {column: tuple(map(str.strip, found)) for column, found in names.items() if found}

    def kind(self, column: str) -> str:
        """What a column holds."""
        return self._kinds[column]

    def class_names(self, column: str) -> tuple[str, ...]:
        """The names of a ClassLabel; else ()."""
        return self._classes.get(column, ())

    def records(self, columns: Collection[str]) -> Iterator[Record | BadRecord]:
        """The columns of all records in their order."""
        for values in self._table.select_columns(self._outer(columns)):
            yield record_of(dict(leaves(values)), columns, self._classes)

    def size(self) -> int:
        """The number of records."""
        return len(self._table)

    def inputs(self, columns: Collection[str], column: str) -> Iterator[tuple[Record | BadRecord, Any]]:
        """The columns of all records, each beside its input."""
        for values in self._table.select_columns(self._outer({*columns, column})):
            yield record_of(dict(leaves(values)), columns, self._classes), typed_value(values, column)

    def value(self, row: int, column: str) -> Any:
        """A record's value, read again."""
        return typed_value(self._table[row], column)

    def stamp(self, row: int, column: str) -> FileStamp | None:
        """None: a column of images may point to other files."""
        return None

    def row_id(self, row: int) -> str:
        """`row 1` for the first record."""
        return f"row {row + 1}"

    def where(self, row: int) -> str:
        """The folder and the row."""
        return f"{self.path}, {self.row_id(row)}"

    def _outer(self, columns: Collection[str]) -> list[str]:
        """The table's own columns that hold these, which may be parts of theirs."""
        return [name for name in self._table.column_names if any(f"{each}.".startswith(f"{name}.") for each in columns)]


def _loaded(path: Path) -> Any:
    """A Dataset, or a DatasetDict joined into one."""
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


def _undecoded(table: Any) -> Any:
    """The table with the files of its images in place of their pixels."""
    import datasets

    for column, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(column, datasets.Image(decode=False))
    return table


def _kinds(features: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, str]]:
    """Every column, or what is in it, and its kind."""
    known = {"string": "text", "large_string": "text", "PIL.Image.Image": "image", "binary": "image"}
    for name, feature in features.items():
        if isinstance(feature, dict):
            yield from _kinds(feature, f"{inside}{name}.")
        else:
            yield f"{inside}{name}", known.get(getattr(feature, "dtype", ""), str(feature))
