"""Atomic files: written as temporary ones, flushed to the disk, then renamed into place; and private folders.

`make_private_folder` and `temporary_file` raise StoreUnavailable, the other functions OSError.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from triggers.errors import StoreUnavailable

TEMP_PREFIX = ".writing-"


def write_temporary(folder: Path, data: bytes) -> Path:
    """Write `data` to a new temporary file (mode 0600) in `folder` and flush it to the disk."""
    handle, name = tempfile.mkstemp(prefix=TEMP_PREFIX, dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def rename_durably(temporary: Path, final: Path) -> None:
    """Rename a temporary file to its final name, and flush the folder so that the name survives a power cut."""
    os.replace(temporary, final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step."""
    temporary = write_temporary(path.parent, data)
    try:
        rename_durably(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def make_private_folder(folder: Path) -> None:
    """Make a folder and its missing parents; those made here are private, those that exist stay as they are."""
    try:
        for missing in [path for path in (*reversed(folder.parents), folder) if not path.is_dir()]:
            missing.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"The store cannot make its folder {folder}: {error.strerror}.") from error


def temporary_file(folder: Path, data: bytes) -> Path:
    """As `write_temporary`, but raises StoreUnavailable."""
    try:
        return write_temporary(folder, data)
    except OSError as error:
        raise StoreUnavailable(f"The trigger store cannot write to {folder}: {error.strerror}.") from error
