"""A text file as lines in UTF-8: of the file itself, or of a temporary copy where it has another encoding."""

from __future__ import annotations

import codecs
import mmap
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO
from weakref import finalize

from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.packed_files import refuse_packed
from triggers.errors import DataError
from triggers.storage.regular_file import open_regular

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""What byte order marks stand for; UTF-32's begins with UTF-16's, and comes first."""
CHUNK = 2**20


class TextFile:
    """A file in the encoding that its byte order mark names, else in `encoding`, else in UTF-8. Raises DataError."""

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path, self._stamp = path, FileStamp.of(path)
        self._readable = path
        with _opened(path) as file:
            head = file.read(8)
        refuse_packed(path, head)
        self.encoding = next(
            (name for mark, name in BYTE_ORDER_MARKS.items() if head.startswith(mark)), encoding or "utf-8"
        )
        if codecs.lookup(self.encoding).name != "utf-8":
            self.replace_content(self._recoded())
        with _opened(self._readable) as file:
            head = file.read(8)
        self.start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
        if len(head) == self.start:
            raise DataError(f"{path} is empty. Set data.path to a file with data.")

    def replace_content(self, chunks: Iterable[str]) -> None:
        """Read from now on what `chunks` hold, from a temporary file that goes with this object."""
        handle, name = mkstemp(prefix="fairtrigger-")
        finalize(self, Path(name).unlink)
        with os.fdopen(handle, "wb") as copy:
            for chunk in chunks:
                copy.write(chunk.encode())
        self._readable, self.start = Path(name), 0

    def lines(self) -> Lines:
        """All lines from the top."""
        return Lines(self.path, _opened(self._readable), self.start)

    def first_character(self) -> str:
        """The first that is not blank; "" if all is."""
        return next((line.lstrip()[0] for line in self.lines() if not line.isspace()), "")

    def holds(self, text: str) -> bool:
        """Whether a text occurs anywhere in the file."""
        return self._bytes.find(text.encode()) >= 0

    def part(self, begin: int, end: int) -> str:
        """The text between two positions of `Lines`."""
        return self._bytes[begin:end].decode()

    def stamp(self, position: int, content: str) -> FileStamp | None:
        """Stamp of what begins at a position; `content` says which part of it is meant, and how it is read."""
        return self._stamp and self._stamp.at(position, f"{self.encoding} {content}")

    @cached_property
    def _bytes(self) -> mmap.mmap:
        with _opened(self._readable) as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _recoded(self) -> Iterator[str]:
        try:
            with TextIOWrapper(_opened(self.path), self.encoding, newline="") as text:
                yield from iter(lambda: text.read(CHUNK), "")
        except UnicodeError as error:
            raise DataError(f"{self.path} is not in {self.encoding}: {error}. Set data.encoding to its own.") from error


class Lines:
    """Decoded lines with their ends; the number of the last one that was taken, and the position in bytes behind it."""

    def __init__(self, path: Path, file: BinaryIO, start: int) -> None:
        self.path, self._file, self.position, self.number = path, file, start, 0

    def __iter__(self) -> Iterator[str]:
        with self._file:
            self._file.seek(self.position)
            for line in self._file:
                self.number += 1
                self.position += len(line)
                try:
                    yield line.decode()
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{self.path}, line {self.number}: byte {line[error.start]:#x} is not UTF-8. Save the file in "
                        f'UTF-8, or say what it is in: data.encoding = "cp1252" (Windows), "latin-1", ...'
                    ) from error


def _opened(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Set data.path to a file that is there.") from error
