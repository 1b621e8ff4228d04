"""File stamps: what identifies a stored input without reading it, for caches of computed values."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

STAMP_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file's path, inode, size and times in ns, and the place of an input in a file that holds many.

    `content` says which part of that place is the input, and how it is read: the same place has several columns.

    Every write moves the change time, which no program can set, even where size and modification time are put back.
    """

    path: str
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    place: int = 0
    content: str = ""

    @classmethod
    def of(cls, path: Path) -> FileStamp | None:
        """The stamp of a file now; None if it cannot be looked up."""
        try:
            found = path.stat()
        except OSError:
            return None
        return cls(os.fspath(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def at(self, place: int, content: str = "") -> FileStamp:
        """The stamp of the input at a place in this file."""
        return replace(self, place=place, content=content)

    @property
    def changed_ns(self) -> int:
        """Time of the file's last change in ns, by the file system's clock."""
        return max(self.mtime_ns, self.ctime_ns)

    def key(self, rule: str) -> bytes:
        """Cache key of this input under a processing rule."""
        fields = [rule, self.path, self.inode, self.size, self.mtime_ns, self.ctime_ns, self.place]
        fields += [self.content] if self.content else []
        return hashlib.blake2b("\0".join(map(str, fields)).encode(), digest_size=STAMP_KEY_BYTES).digest()
