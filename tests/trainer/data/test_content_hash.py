"""Digests of contents: read once, and read again as soon as a file may have changed."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.trainer.datasets import faces
from tests.trainer.sources import CELEBA, TEXTS, config, posts
from trainer.data.content_hash import SETTLED_NS, content_digests
from trainer.data.loader import open_source
from trainer.data.sources.base import Source
from trainer.progress import LineProgress


@dataclass
class Watched:
    """A source that notes which rows are read."""

    source: Source
    read_rows: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.modality, self.rows, self.notes = self.source.modality, self.source.rows, self.source.notes
        self.label_names, self.group_names = self.source.label_names, self.source.group_names
        self.stamp = self.source.stamp

    def read(self, row: int) -> bytes | str:
        self.read_rows.append(row)
        return self.source.read(row)


def digests(folder: Path, text: str, *overrides: str, later_ns: int = 2 * SETTLED_NS) -> tuple[list[str], list[int]]:
    """The digests of all rows as a later run finds them, and the rows that it had to read."""
    made = config(folder, text, *overrides)
    source = Watched(open_source(made))
    rows: Sequence[int] = range(len(source.rows))
    progress = LineProgress(io.StringIO())
    found = content_digests(source, rows, folder / "cache", made.data.path, progress, lambda: time.time_ns() + later_ns)
    raw = [source.source.read(row) for row in rows]
    truth = [one if isinstance(one, bytes) else " ".join(one.casefold().split()).encode() for one in raw]
    assert found == [hashlib.sha256(one).hexdigest() for one in truth]
    return found, sorted(source.read_rows)


def test_images_are_read_once_and_a_changed_one_again(tmp_path: Path) -> None:
    folder = faces.celeba(tmp_path / "celeba", 6, 2, 2)
    first, read = digests(tmp_path, CELEBA)
    assert read == list(range(10))
    assert digests(tmp_path, CELEBA) == (first, [])
    image = folder / "img_align_celeba/000004.jpg"
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    assert digests(tmp_path, CELEBA)[1] == [3]


def test_a_change_that_puts_size_and_date_back_is_noticed(tmp_path: Path) -> None:
    folder = faces.celeba(tmp_path / "celeba", 6, 2, 2)
    digests(tmp_path, CELEBA)
    image = folder / "img_align_celeba/000004.jpg"
    before = image.stat()
    time.sleep(0.02)  # more than a tick of the file system's clock
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digests(tmp_path, CELEBA)[1] == [3]


def test_a_file_that_changed_just_now_is_not_trusted(tmp_path: Path) -> None:
    faces.celeba(tmp_path / "celeba", 6, 2, 2)
    assert digests(tmp_path, CELEBA, later_ns=0)[1] == list(range(10))
    assert digests(tmp_path, CELEBA)[1] == list(range(10))
    assert digests(tmp_path, CELEBA)[1] == []


def test_a_tar_file_is_known_as_a_whole(tmp_path: Path) -> None:
    path = faces.packed(faces.celeba(tmp_path / "celeba", 6, 2, 2))
    where = f"data.path={path.name}"
    assert len(digests(tmp_path, CELEBA, where)[1]) == 10
    assert digests(tmp_path, CELEBA, where)[1] == []
    os.utime(path)
    assert len(digests(tmp_path, CELEBA, where)[1]) == 10


def test_texts_of_a_table_are_known_by_their_place(tmp_path: Path) -> None:
    path = posts(tmp_path, 12)
    first, read = digests(tmp_path, TEXTS)
    assert read == list(range(12))
    assert digests(tmp_path, TEXTS) == (first, [])
    path.write_text(path.read_text().replace("woman", "man"))
    assert len(digests(tmp_path, TEXTS)[1]) == 12


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: raw[:60] + b"x" + raw[61:], lambda raw: b""])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: object) -> None:
    faces.celeba(tmp_path / "celeba", 6, 2, 2)
    digests(tmp_path, CELEBA)
    (index,) = (tmp_path / "cache").iterdir()
    index.write_bytes(damage(index.read_bytes()))  # type: ignore[operator]
    assert len(digests(tmp_path, CELEBA)[1]) == 10
    assert digests(tmp_path, CELEBA)[1] == []


def test_rows_without_a_stamp_are_always_read(tmp_path: Path) -> None:
    faces.celeba(tmp_path / "celeba", 6, 2, 2)
    source = Watched(open_source(config(tmp_path, CELEBA)))
    source.stamp = lambda row: None
    for _ in range(2):
        content_digests(source, [0, 5], tmp_path / "cache", tmp_path, LineProgress(io.StringIO()))
    assert source.read_rows == [0, 5, 0, 5]
