"""A Parquet file, read in batches; the row group that inputs are being read from is held in memory."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.tables.table import Record, leaves, record_of, typed_value
from triggers.errors import ConfigError, DataError
from triggers.storage.regular_file import check_regular

GROUPS_HELD = 2
INPUTS_AT_ONCE = 256
"""Rows that are read together where inputs, which may be images, come with them."""


class ParquetFile:
    """Records by column; those within a struct have dotted names. A column that `datasets` wrote as a ClassLabel has
    its names, not its numbers. Raises DataError; ConfigError without the package pyarrow.
    """

    notes: Sequence[str] = ()

    def __init__(self, path: Path) -> None:
        self.path, self._stamp = path, FileStamp.of(path)
        self._file = _opened(path)
        self._classes = _class_names(self._file.schema_arrow.metadata or {})
        self._kinds = dict(_kinds(self._file.schema_arrow))
        self.names: Sequence[str] = list(self._kinds)
        groups = range(self._file.num_row_groups)
        counts = [self._file.metadata.row_group(group).num_rows for group in groups]
        self._starts = list(accumulate(counts, initial=0))
        self._lock, self._group = Lock(), lru_cache(GROUPS_HELD)(self._read_group)

    def kind(self, column: str) -> str:
        """What a column holds."""
        return self._kinds[column]

    def class_names(self, column: str) -> tuple[str, ...]:
        """The names of a ClassLabel; else ()."""
        return self._classes.get(column, ())

    def records(self, columns: Collection[str]) -> Iterator[Record | BadRecord]:
        """The columns of all records in their order."""
        with _readable(self.path):
            for batch in self._file.iter_batches(columns=list(columns)):
                for values in batch.to_pylist():
                    yield record_of(dict(leaves(values)), columns, self._classes)

    def size(self) -> int:
        """The number of records."""
        return int(self._starts[-1])

    def inputs(self, columns: Collection[str], column: str) -> Iterator[tuple[Record | BadRecord, Any]]:
        """The columns of all records, each beside its input."""
        with _readable(self.path):
            for batch in self._file.iter_batches(INPUTS_AT_ONCE, columns=list({*columns, column})):
                for values in batch.to_pylist():
                    record = record_of(dict(leaves(values)), columns, self._classes)
                    yield record, typed_value(values, column)

    def value(self, row: int, column: str) -> Any:
        """A record's value, read again."""
        group = bisect_right(self._starts, row) - 1
        with self._lock, _readable(self.path):
            table = self._group(group, column)
        values = table.slice(row - self._starts[group], 1).to_pylist()[0]
        return typed_value(values, column)

    def stamp(self, row: int, column: str) -> FileStamp | None:
        """The file's stamp, the row and the column; None for images, which may lie in files of their own."""
        return self._stamp and self._stamp.at(row, column) if self._kinds[column] == "text" else None

    def row_id(self, row: int) -> str:
        """`row 1` for the first record."""
        return f"row {row + 1}"

    def where(self, row: int) -> str:
        """The file and the row."""
        return f"{self.path}, {self.row_id(row)}"

    def _read_group(self, group: int, column: str) -> Any:
        return self._file.read_row_group(group, columns=[column])


def _opened(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError('data.format = "parquet" needs an extra: pip install "fairtrigger[parquet]".') from error
    with _readable(path):
        check_regular(path)
        return pyarrow.parquet.ParquetFile(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises into DataError."""
    import pyarrow

    try:
        yield
    except (OSError, pyarrow.ArrowException) as error:
        problem = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DataError(f"Cannot read {path}: {problem}. Set data.path to a Parquet file.") from error


def _kinds(schema: Any, inside: str = "") -> Iterator[tuple[str, str]]:
    """Every column and its kind; behind a struct, what is in it."""
    from pyarrow import types

    for field in schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        name = inside + field.name
        if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
            yield name, "text"
        elif types.is_binary(kind) or types.is_large_binary(kind):
            yield name, "image"
        elif types.is_struct(kind):
            yield name, "image" if kind.get_field_index("bytes") >= 0 else str(kind)
            yield from _kinds(kind, f"{name}.")
        else:
            yield name, str(kind)


def _class_names(metadata: Mapping[bytes, bytes]) -> Mapping[str, tuple[str, ...]]:
    """The names of ClassLabel columns, as `datasets` keeps them in a file's metadata."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {
        column: tuple(name.strip() for name in feature["names"])
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and "names" in feature
    }
