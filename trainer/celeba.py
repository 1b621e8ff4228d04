"""CelebA's own layout, in a folder or in a tar file of it that is read without unpacking.

img_align_celeba/000001.jpg ...
list_attr_celeba.txt         count, 40 attribute names, then one row of -1/1 per image
list_eval_partition.txt      "000001.jpg 0": 0 train, 1 val, 2 test
"""

from __future__ import annotations

import difflib
import mmap
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from trainer.config import DataConfig, Modality
from trainer.rows import Row, crossed_names
from triggers.errors import DataError

IMAGES, ATTRIBUTES, PARTITION = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"
POOL_CODES = {"0": "train", "1": "val", "2": "test"}


class CelebA:
    """Rows with `label` 0/1 and groups named "not Male" and "Male" after their attribute."""

    modality: Modality = "image"

    def __init__(self, data: DataConfig) -> None:
        self._files: _Files = _TarFiles(data.path) if data.path.is_file() else _FolderFiles(data.path)
        names, table = _attributes(self._text(ATTRIBUTES))
        label, *groups = (_column(names, name) for name in (data.label, *data.group))
        pools = _partition(self._text(PARTITION))
        columns = [(f"not {name}", name) for name in data.group]
        self.group_names = crossed_names(columns)
        self.rows: Sequence[Row] = [
            Row(
                image,
                str(int(values[label] == "1")),
                " & ".join(pair[values[at] == "1"] for pair, at in zip(columns, groups, strict=True)),
                pools[image],
            )
            for image, values in table.items()
            if image in pools
        ]
        if len(self.rows) != len(table):
            missing = next(image for image in table if image not in pools)
            raise DataError(f"{PARTITION} has no row for {missing}, which is in {ATTRIBUTES}; the files do not match.")

    def read(self, row: int) -> bytes:
        """The JPEG file of a row."""
        return self._files.read(f"{IMAGES}/{self.rows[row].id}")

    def _text(self, name: str) -> str:
        return self._files.read(name).decode("utf-8")


class _Files(Protocol):
    def read(self, name: str) -> bytes: ...


class _FolderFiles:
    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"No such folder or tar file: {folder}. Set data.path to a copy of CelebA.")
        self._folder = folder

    def read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise DataError(f"Cannot read {self._folder / name}: {error.strerror}.") from error


class _TarFiles:
    """Members are found once; the file is mapped, so threads share it."""

    def __init__(self, path: Path) -> None:
        try:
            with tarfile.open(path, "r:") as archive:
                places = {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}
        except tarfile.TarError as error:
            raise DataError(f"{path} is not a plain tar file ({error}); unpack it, or pack it uncompressed.") from error
        inside = next((name.removesuffix(ATTRIBUTES) for name in places if name.endswith(ATTRIBUTES)), None)
        if inside is None:
            raise DataError(f"{path} holds no {ATTRIBUTES}, so it is not laid out like CelebA.")
        self._path, self._inside, self._places = path, inside, places
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def read(self, name: str) -> bytes:
        if self._inside + name not in self._places:
            raise DataError(f"{self._path} holds no {self._inside + name}.")
        offset, size = self._places[self._inside + name]
        return self._bytes[offset : offset + size]


def _attributes(text: str) -> tuple[list[str], dict[str, list[str]]]:
    lines = text.splitlines()
    if len(lines) < 3:
        raise DataError(f"{ATTRIBUTES} has {len(lines)} lines; it needs a count, the names and a row per image.")
    names, table = lines[1].split(), {}
    for number, line in enumerate(lines[2:], start=3):
        image, *values = line.split() or [""]
        if len(values) != len(names) or not set(values) <= {"-1", "1"}:
            raise DataError(f"{ATTRIBUTES}, line {number}: expected a file name and {len(names)} values of -1 or 1.")
        table[image] = values
    return names, table


def _partition(text: str) -> Mapping[str, str]:
    pools = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match line.split():
            case [image, code] if code in POOL_CODES:
                pools[image] = POOL_CODES[code]
            case _:
                raise DataError(f"{PARTITION}, line {number}: expected a file name and 0, 1 or 2, not {line!r}.")
    return pools


def _column(names: Sequence[str], name: str) -> int:
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}."
    raise DataError(f"CelebA has no attribute {name!r}; {hint}")
