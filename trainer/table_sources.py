"""Two sources that are tables: a CSV manifest, and a `datasets` folder written by `save_to_disk`."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.config import DataConfig, Modality, SplitConfig
from trainer.rows import MENTION_GROUPS, Row, crossed, pool_of, word_list
from triggers.errors import ConfigError, DataError


class Manifest:
    """A CSV file with a header: an image path or a text, a label, group columns and, if wanted, a split.

    Image paths start from `data.root`, or from the file's own folder.
    """

    def __init__(self, data: DataConfig, split: SplitConfig, modality: Modality) -> None:
        self.modality = modality
        names, records = _read_csv(data.path)
        default = "path" if modality == "image" else "text"
        column = _known(data.input or default, names, "data.input", data.path)
        self._inputs = [record[column] for record in records]
        self._root = data.root or data.path.parent
        ids = self._inputs if modality == "image" else [f"row {row}" for row in range(1, len(records) + 1)]
        self.rows: Sequence[Row] = _rows(data, split, names, records, ids, self._inputs)
        self.group_names = () if data.group else MENTION_GROUPS

    def read(self, row: int) -> bytes | str:
        """The image file's bytes, or the text."""
        value = self._inputs[row]
        if self.modality == "text":
            return value
        try:
            return (self._root / value).read_bytes()
        except OSError as error:
            raise DataError(f"Row {row + 1}: cannot read the image {self._root / value}: {error.strerror}.") from error


class Arrow:
    """A `datasets` folder: an image or text column, a label and group columns; a DatasetDict brings its own splits."""

    def __init__(self, data: DataConfig, split: SplitConfig, modality: Modality) -> None:
        self.modality = modality
        self._table = _load_arrow(data.path)
        names = self._table.column_names
        self._input = _known(data.input or modality, names, "data.input", data.path)
        if modality == "image":
            self._table = _undecoded(self._table, self._input)
        plain = self._table.select_columns([name for name in names if name != self._input or modality == "text"])
        records = [{name: _plain(value) for name, value in record.items()} for record in plain]
        texts = [record[self._input] for record in records] if modality == "text" else []
        ids = [f"row {row}" for row in range(1, len(records) + 1)]
        self.rows: Sequence[Row] = _rows(data, split, names, records, ids, texts)
        self.group_names = () if data.group else MENTION_GROUPS

    def read(self, row: int) -> bytes | str:
        """The image file's bytes, or the text."""
        value = self._table[row][self._input]
        if isinstance(value, str):
            return value
        stored: bytes | None = value["bytes"]
        return stored if stored is not None else Path(value["path"]).read_bytes()


def _rows(
    data: DataConfig,
    split: SplitConfig,
    names: Sequence[str],
    records: Sequence[Mapping[str, str]],
    ids: Sequence[str],
    texts: Sequence[str],
) -> list[Row]:
    label = _known(data.label, names, "data.label", data.path)
    groups = [_known(name, names, "data.group", data.path) for name in data.group]
    pool = _known(split.column, names, "split.column", data.path) if split.column else "split"
    words, rows = word_list(data), []
    for number, record in enumerate(records):
        where = f"{data.path}, row {number + 1}"
        group = words.group(texts[number]) if words else crossed(groups, [record[name] for name in groups])
        part = pool_of(record[pool], where) if pool in names else ""
        rows.append(Row(ids[number], record[label], group, part))
    return rows


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            names = next(lines, [])
            return names, [
                _record(names, line, number, path) for number, line in enumerate(filter(None, lines), start=1)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read {path}: {error}. Set data.path to a CSV file in UTF-8 with a header.") from error


def _record(names: Sequence[str], line: Sequence[str], number: int, path: Path) -> dict[str, str]:
    if len(line) != len(names):
        raise DataError(f"{path}, row {number}: {len(line)} fields, but the header names {len(names)}.")
    return {name: value.strip() for name, value in zip(names, line, strict=True)}


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


def _known(name: str, names: Iterable[str], key: str, path: Path) -> str:
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(names) or 'none'}."
    raise DataError(f"{path} has no column {name!r} ({key}); {hint}")
