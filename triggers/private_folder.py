"""Folders that only their owner can read, and files written aside in them, with the store's own errors."""

from __future__ import annotations

from pathlib import Path

from triggers.durable import write_aside
from triggers.errors import StoreUnavailable


def make_private(folder: Path) -> None:
    """Make a folder and its missing parents; those made here are private, those that exist stay as they are."""
    try:
        for missing in [path for path in (*reversed(folder.parents), folder) if not path.is_dir()]:
            missing.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"The store cannot make its folder {folder}: {error.strerror}.") from error


def aside(folder: Path, data: bytes) -> Path:
    """Write a temporary file that is whole on disk, to be renamed."""
    try:
        return write_aside(folder, data)
    except OSError as error:
        raise StoreUnavailable(f"The trigger store cannot write to {folder}: {error.strerror}.") from error
