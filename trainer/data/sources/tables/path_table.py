"""A table whose rows are the files of a folder or tar file, and whose columns are in their paths."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from trainer.config.run_config import Modality
from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.input_files import InputFiles
from trainer.data.sources.tables.path_pattern import PathPattern
from trainer.data.sources.tables.table import Record
from triggers.errors import DataError

SUFFIXES = {
    "image": (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    "text": (".txt",),
}


class PathTable:
    """Column `path`, of texts also `text` with the file's content, and the columns of the pattern. Raises DataError.

    Without a pattern all files of the kind are rows. Files of other kinds are passed over; those of
    the kind that are not of the pattern are left out and counted.
    """

    def __init__(
        self, files: InputFiles, pattern: PathPattern | None, modality: Modality, encoding: str | None = None
    ) -> None:
        self._files, self._pattern, self._encoding = files, pattern, encoding or "utf-8"
        self.names: Sequence[str] = (
            "path",
            *(["text"] if modality == "text" else []),
            *(pattern.names if pattern else ()),
        )
        paths = [path for path in files.names() if _visible(path) and path.lower().endswith(SUFFIXES[modality])]
        self._paths = [path for path in paths if self._columns(path) is not None]
        others = sorted(set(paths) - set(self._paths))
        if not self._paths:
            example = f", for example {others[0]!r}" if others else ""
            if not paths:
                raise DataError(f"{files.path} holds no {modality} file ({', '.join(SUFFIXES[modality])}).")
            raise DataError(
                f"{files.path} holds {len(paths)} {modality} files{example}, and none whose path is like "
                f"data.columns_from_path. Mend that key: it is the path from there to the end."
            )
        count = f"data: {len(others)} of {len(paths)} {modality} files are not of data.columns_from_path"
        self.notes: Sequence[str] = [f"{count}, for example {others[0]!r}, and were left out"] if others else []

    def kind(self, column: str) -> str:
        """Every column holds text."""
        return "text"

    def class_names(self, column: str) -> tuple[str, ...]:
        """None: classes are names, or numbers whose names are not known."""
        return ()

    def records(self, columns: Collection[str]) -> Iterator[Record | BadRecord]:
        """The columns of all files in the order of their paths; a text is read only if it is among them."""
        for row, path in enumerate(self._paths):
            text = {"text": self.value(row, "text")} if "text" in columns and "text" in self.names else {}
            yield {"path": path, **text, **(self._columns(path) or {})}

    def size(self) -> int:
        """The number of files."""
        return len(self._paths)

    def inputs(self, columns: Collection[str], column: str) -> Iterator[tuple[Record | BadRecord, str]]:
        """The columns of all files, each beside its path or its text."""
        named = self.records([name for name in columns if name != "text"])
        return ((record, self.value(row, column)) for row, record in enumerate(named))

    def value(self, row: int, column: str) -> str:
        """A file's path, or its text without a byte order mark."""
        if column == "path":
            return self._paths[row]
        try:
            return self._files.read(self._paths[row]).decode(self._encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise DataError(
                f'{self.where(row)} is not in {self._encoding} ({error}); set data.encoding, as in "cp1252".'
            ) from error

    def stamp(self, row: int, column: str) -> FileStamp | None:
        """The file's stamp, or of its place in the tar file."""
        return self._files.stamp(self._paths[row])

    def _columns(self, path: str) -> dict[str, str] | None:
        return self._pattern.columns(path) if self._pattern else {}

    def row_id(self, row: int) -> str:
        """The file's path."""
        return self._paths[row]

    def where(self, row: int) -> str:
        """The folder or tar file, and the path in it."""
        return f"{self._files.path}: {self._paths[row]}"


def _visible(path: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in path.split("/"))
