"""Files that are either whole or not there: written aside, flushed to the disk, then renamed into place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

TEMP_PREFIX = ".writing-"


def write_aside(folder: Path, data: bytes) -> Path:
    """Write `data` to a new temporary file (mode 0600) in `folder` and flush it to the disk."""
    handle, name = tempfile.mkstemp(prefix=TEMP_PREFIX, dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def settle(temporary: Path, final: Path) -> None:
    """Rename a file written aside to its final name, and flush the folder so that the name survives a power cut."""
    os.replace(temporary, final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step."""
    temporary = write_aside(path.parent, data)
    try:
        settle(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
