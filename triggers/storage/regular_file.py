"""Access to regular files only: opening a pipe would wait for its other end, and a device never ends."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path | str, *, follow_links: bool = True) -> BinaryIO:
    """A regular file, opened for reading without waiting. Raises OSError, also for a folder, pipe, socket or device.

    `follow_links` may be off only where the program itself made the file: Kubernetes mounts secrets as links.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    handle = os.open(path, flags)
    try:
        _check(os.fstat(handle), path)
    except OSError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def read_regular(path: Path | str, most: int = -1, *, follow_links: bool = True) -> bytes:
    """The content of a regular file, at most `most` bytes of it (-1: all). Raises OSError as `open_regular`."""
    with open_regular(path, follow_links=follow_links) as file:
        return file.read(most)


def check_regular(path: Path | str) -> None:
    """Raise OSError unless the path leads to a regular file: for libraries that open paths themselves."""
    _check(os.stat(path), path)


def _check(found: os.stat_result, path: Path | str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
