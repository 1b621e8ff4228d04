"""The inputs of any file or folder that the trainer can read, with or without labels, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.config.run_config import Modality
from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.input_files import InputFiles, open_files
from trainer.data.sources.tables.frame_table import FrameTable
from trainer.data.sources.tables.path_pattern import PathPattern
from trainer.data.sources.tables.path_table import PathTable
from trainer.data.sources.tables.table import InputRecords, Record
from trainer.data.sources.tables.table_formats import find_format, formats_in, open_table
from trainer.data.sources.tables.table_rows import known_column
from trainer.data.sources.tables.table_source import input_column, input_content
from trainer.data.values.value_spelling import is_missing
from triggers.errors import DataError
from triggers.metrics.label_values import label_index


@dataclass(frozen=True)
class InputConfig:
    """Where inputs are, and which columns stand beside them. `frame`, a data frame, is read in the place of `path`.

    `format` is one of [data], or "auto"; a folder or tar file without tables is one of images or texts. `label_map`
    names values of the label column.
    """

    path: Path
    format: str = "auto"
    input: str | None = None
    id: str | None = None
    label: str | None = None
    groups: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None
    columns_from_path: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    frame: Any = None


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row; `number` counts from 0. `label` is the index of a known label; a group is None where it is missing.

    `content` is what `InputTable.read` makes the input of.
    """

    number: int
    id: str
    label: int | None
    groups: tuple[str | None, ...]
    content: Any


@dataclass(frozen=True, slots=True)
class UnusableInput:
    """A row that holds no usable input or label; `kind` is a word or two, `problem` a sentence without its end."""

    number: int
    id: str
    kind: str
    problem: str


class InputTable:
    """The rows of an InputConfig, for a model of `modality` with these labels; see `rows`. Raises DataError."""

    def __init__(self, config: InputConfig, modality: Modality, labels: Sequence[str]) -> None:
        self._config, self._modality, self._labels = config, modality, labels
        self._table, self._files = _opened(config, modality)
        self._input = input_column(self._table, config.input, config.path, modality)
        self._paths = modality == "image" and self._table.kind(self._input) == "text"
        named = {"--id": [config.id], "data.label": [config.label], "data.group": config.groups}
        for key, columns in named.items():
            for column in filter(None, columns):
                known_column(column, self._table.names, key, config.path)
        for name in config.label_map.values():
            if label_index(name, labels) is None:
                raise DataError(f"data.label_map makes {name!r}, which is none of the model's labels {list(labels)}.")

    @property
    def notes(self) -> Sequence[str]:
        """How the data was read, one line each, where that is not plain."""
        return self._table.notes

    def size(self) -> int:
        """The number of rows; a CSV file is read through for it."""
        return self._table.size()

    def rows(self) -> Iterator[InputRow | UnusableInput]:
        """All rows in their order; to be called once."""
        config = self._config
        columns = [name for name in (config.id, config.label, *config.groups) if name]
        for number, (record, content) in enumerate(self._table.inputs(columns, self._input)):
            yield self._row(number, record, content)

    def read(self, row: InputRow) -> bytes | str:
        """The text, or the bytes of the image file, of a row. Raises DataError. On any thread."""
        return input_content(row.content, self._modality, self._files, self._table, row.number)

    def where(self, number: int) -> str:
        """The file and the place in it of a row that was read."""
        return self._table.where(number)

    def _row(self, number: int, record: Record | BadRecord, content: Any) -> InputRow | UnusableInput:
        if isinstance(record, BadRecord):
            return UnusableInput(number, str(number + 1), record.kind, record.problem)
        config = self._config
        id = record[config.id] if config.id else content if self._paths and content else str(number + 1)
        if content is None or content == "":
            return UnusableInput(number, id, "missing input", f"column {self._input!r} is empty")
        given = record[config.label] if config.label else ""
        label = None
        if given and not is_missing(given, (*self._labels, *config.label_map)):
            label = label_index(config.label_map.get(given, given), self._labels)
            if label is None:
                problem = f"label {given!r} is none of the model's labels {list(self._labels)}; data.label_map names it"
                return UnusableInput(number, id, "unknown label", problem)
        values = (record[name] for name in config.groups)
        groups = tuple(None if is_missing(value, ()) else value for value in values)
        return InputRow(number, id, label, groups, content)


def _opened(config: InputConfig, modality: Modality) -> tuple[InputRecords, InputFiles]:
    """The table, and the files that its paths start from."""
    if config.frame is not None:
        return FrameTable(config.frame), open_files(config.root or Path(), "the images", "data.root")
    kind = _format(config, modality)
    if kind == "files":
        files = open_files(config.path, "the data")
        pattern = PathPattern(config.columns_from_path) if config.columns_from_path else None
        return PathTable(files, pattern, modality, config.encoding), files
    here = config.path if config.path.is_dir() else config.path.parent
    return open_table(kind, config), open_files(config.root or here, "the images", "data.root")


def _format(config: InputConfig, modality: Modality) -> str:
    """The format, "files" for a folder or tar file without tables. Raises DataError."""
    if not config.path.exists():
        raise DataError(f"No such file or folder: {config.path}. Set data.path to the data.")
    plain = config.path.is_dir() or config.path.suffix.lower() == ".tar"
    if config.format == "auto" and plain and not formats_in(config.path):
        return "files"
    found = find_format(config)
    return "files" if found in ("celeba", "utkface") else "csv" if found == "civilcomments" else found
