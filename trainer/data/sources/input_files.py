"""The files of a data set: in a folder, or in a plain tar file of it that is read without unpacking."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Protocol
from weakref import finalize

from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.packed_files import refuse_packed
from triggers.errors import DataError
from triggers.storage.regular_file import open_regular, read_regular


class InputFiles(Protocol):
    """Files by name, a path with forward slashes below the folder or inside the tar file."""

    @property
    def path(self) -> Path:
        """The folder or tar file."""

    def names(self) -> Sequence[str]:
        """Every file, sorted."""

    def holds(self, name: str) -> bool:
        """Whether there is a file of that name."""

    def read(self, name: str) -> bytes:
        """A file's content. Raises DataError."""

    def stamp(self, name: str) -> FileStamp | None:
        """The content's stamp, found without reading it."""


def open_files(path: Path, what: str, key: str = "data.path") -> InputFiles:
    """Open a folder or tar file of `what`, which `key` of the configuration names. Raises DataError."""
    if path.is_file():
        return TarFiles(path)
    if not path.is_dir():
        raise DataError(f"No such folder or tar file: {path}. Set {key} to a copy of {what}.")
    return FolderFiles(path)


class FolderFiles:
    """Files of a folder and its subfolders."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Sequence[str]:
        """Every file, sorted."""
        found = (Path(folder, name) for folder, _, names in os.walk(self.path) for name in names)
        return sorted(path.relative_to(self.path).as_posix() for path in found)

    def holds(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self.path / name).is_file()

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
    """Files of a tar file: its members are listed once, and each is read from its place, on any thread."""

    def __init__(self, path: Path) -> None:
        self.path, self._stamp = path, FileStamp.of(path)
        try:
            refuse_packed(path, read_regular(path, 8))
            with tarfile.open(path, "r:") as archive:
                self._members = {m.name.removeprefix("./"): (m.offset_data, m.size) for m in archive if m.isfile()}
        except (tarfile.TarError, OSError) as error:
            raise DataError(f"{path} is not a plain tar file ({error}); unpack it, or pack it uncompressed.") from error
        with open_regular(path) as file:
            self._handle = os.dup(file.fileno())
        finalize(self, os.close, self._handle)

    def names(self) -> Sequence[str]:
        """Every file, sorted."""
        return sorted(self._members)

    def holds(self, name: str) -> bool:
        """Whether there is a member of that name."""
        return name in self._members

    def read(self, name: str) -> bytes:
        """A member's content. Raises DataError."""
        place = self._place(name)
        if place is None:
            example = f"; it holds, for example, {min(self._members)!r}" if self._members else ""
            raise DataError(f"{self.path} holds no {name!r}{example}.")
        offset, size = place
        data = os.pread(self._handle, size, offset)
        if len(data) < size:
            raise DataError(f"{self.path} was cut short while it was read: {name!r} is not whole.")
        return data

    def stamp(self, name: str) -> FileStamp | None:
        """The tar file's stamp and the member's place in it; None if it has no such member."""
        place = self._place(name)
        return self._stamp.at(place[0]) if self._stamp and place else None

    def _place(self, name: str) -> tuple[int, int] | None:
        """Offset and size of a member, named from the top or from any of the folders that all members share."""
        return next((self._members[start + name] for start in self._starts if start + name in self._members), None)

    @cached_property
    def _starts(self) -> list[str]:
        """The top, and the folders that all members share, the deepest first, each with a slash at the end."""
        shared = common_folder(list(self._members)).split("/")[:-1]
        return ["", *reversed(list(accumulate(f"{part}/" for part in shared)))]


def common_folder(names: Sequence[str]) -> str:
    """The leading folders that all files share, with a slash at the end; "" if there are none."""
    shared = os.path.commonpath([name.rpartition("/")[0] for name in names])
    return f"{shared}/" if shared else ""
