"""The format of data, found by its name and its files, and the tables of that format opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from trainer.data.sources.tables.csv_file import CsvFile
from trainer.data.sources.tables.datasets_folder import DatasetsFolder
from trainer.data.sources.tables.joined_tables import JoinedTables
from trainer.data.sources.tables.jsonl_file import JsonlFile
from trainer.data.sources.tables.parquet_file import ParquetFile
from trainer.data.sources.tables.table import Table
from triggers.errors import DataError

ENDINGS: Mapping[str, tuple[str, ...]] = {
    "csv": (".csv", ".tsv"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "parquet": (".parquet", ".pq"),
}
MARKERS = {
    "dataset_dict.json": "datasets",
    "dataset_info.json": "datasets",
    "list_attr_celeba.txt": "celeba",
    "list_attr_celeba.csv": "celeba",
}
"""Files that say what their folder is."""


class TableLocation(Protocol):
    """Where a table is, and how it is read; the keys of [data] say it for a run."""

    @property
    def path(self) -> Path: ...

    @property
    def format(self) -> str: ...

    @property
    def columns_from_path(self) -> str | None: ...

    @property
    def delimiter(self) -> str | None: ...

    @property
    def encoding(self) -> str | None: ...


def find_format(data: TableLocation) -> str:
    """The format in `data.format`, or for "auto" that of the file or folder. Raises DataError."""
    if data.format != "auto":
        return data.format
    if data.columns_from_path:
        return "files"
    if not data.path.exists():
        raise DataError(f"No such file or folder: {data.path}. Set data.path to the data.")
    kinds = formats_in(data.path)
    if len(kinds) != 1:
        found = f"holds files of {' and '.join(sorted(kinds))}" if kinds else "may be anything"
        advice = "for a folder or tar of images or texts give data.columns_from_path as well"
        raise DataError(f"{data.path} {found}; set data.format, {advice}.")
    return kinds.pop()


def formats_in(path: Path) -> set[str]:
    """The formats of a file or of the files in a folder, by their names; a folder may say itself what it is."""
    if not path.is_dir():
        return set(_kinds_of(path))
    marked = next((kind for name, kind in MARKERS.items() if (path / name).is_file()), None)
    return {marked} if marked else {kind for file in _visible_files(path) for kind in _kinds_of(file)}


def open_table(kind: str, data: TableLocation) -> Table:
    """The table in a file, or in the files of a folder, of a format that is one. Raises DataError."""
    if kind == "datasets":
        return DatasetsFolder(data.path)
    opener = _OPENERS[kind]
    if not data.path.is_dir():
        return opener(data.path, data)
    files = sorted(path for path in _visible_files(data.path) if kind in _kinds_of(path))
    if not files:
        raise DataError(f"{data.path} holds no {' or '.join(ENDINGS[kind])} file. Set data.path to a file or folder.")
    tables = {path.relative_to(data.path).as_posix(): opener(path, data) for path in files}
    return JoinedTables(data.path, tables) if len(tables) > 1 else next(iter(tables.values()))


_OPENERS: Mapping[str, Callable[[Path, TableLocation], Table]] = {
    "csv": lambda path, data: CsvFile(path, data.encoding, data.delimiter),
    "jsonl": lambda path, data: JsonlFile(path, data.encoding),
    "parquet": lambda path, data: ParquetFile(path),
}


def _kinds_of(path: Path) -> list[str]:
    """The formats that files of such a name have."""
    return [kind for kind, endings in ENDINGS.items() if path.name.lower().endswith(endings)]


def _visible_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file())
