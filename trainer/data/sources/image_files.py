"""The files of an image data set: in a folder, or in a plain tar file of it that is read without unpacking."""

from __future__ import annotations

import mmap
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from trainer.data.sources.file_stamps import FileStamp
from triggers.errors import DataError
from triggers.storage.regular_file import open_regular, read_regular


class ImageFiles(Protocol):
    """Files by name, a path with forward slashes below the folder or inside the tar file."""

    @property
    def path(self) -> Path:
        """The folder or tar file."""

    def names(self) -> Sequence[str]:
        """Every file, sorted."""

    def read(self, name: str) -> bytes:
        """A file's content. Raises DataError."""

    def stamp(self, name: str) -> FileStamp | None:
        """The content's stamp, found without reading it."""


def open_files(path: Path, what: str) -> ImageFiles:
    """Open a folder or tar file of `what`. Raises DataError."""
    if path.is_file():
        return TarFiles(path)
    if not path.is_dir():
        raise DataError(f"No such folder or tar file: {path}. Set data.path to a copy of {what}.")
    return FolderFiles(path)


class FolderFiles:
    """Files of a folder and its subfolders."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Sequence[str]:
        """Every file, sorted."""
        found = (Path(folder, name) for folder, _, names in os.walk(self.path) for name in names)
        return sorted(path.relative_to(self.path).as_posix() for path in found)

    def read(self, name: str) -> bytes:
        """A file's content. Raises DataError."""
        try:
            return read_regular(self.path / name)
        except OSError as error:
            raise DataError(f"Cannot read {self.path / name}: {error.strerror}.") from error

    def stamp(self, name: str) -> FileStamp | None:
        """The file's own stamp."""
        return FileStamp.of(self.path / name)


class TarFiles:
    """Files of a tar file: its members are listed once; the file is mapped, so threads share it."""

    def __init__(self, path: Path) -> None:
        self.path, self._stamp = path, FileStamp.of(path)
        try:
            with tarfile.open(path, "r:") as archive:
                self._members = {m.name.removeprefix("./"): (m.offset_data, m.size) for m in archive if m.isfile()}
        except (tarfile.TarError, OSError) as error:
            raise DataError(f"{path} is not a plain tar file ({error}); unpack it, or pack it uncompressed.") from error
        with open_regular(path) as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def names(self) -> Sequence[str]:
        """Every file, sorted."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """A member's content. Raises DataError."""
        offset, size = self._place(name)
        return self._bytes[offset : offset + size]

    def stamp(self, name: str) -> FileStamp | None:
        """The tar file's stamp and the member's place in it."""
        return self._stamp and self._stamp.at(self._place(name)[0])

    def _place(self, name: str) -> tuple[int, int]:
        if name not in self._members:
            raise DataError(f"{self.path} holds no {name}.")
        return self._members[name]
