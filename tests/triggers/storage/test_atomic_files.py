"""Files are whole or not there, and private."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from triggers.storage.atomic_files import TEMP_PREFIX, rename_durably, write_atomically, write_temporary


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    aside = write_temporary(tmp_path, b"new")
    assert aside.name.startswith(TEMP_PREFIX)
    assert path.read_bytes() == b"old"
    rename_durably(aside, path)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_left_behind_when_the_name_cannot_be_taken(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "full").touch()
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
