"""What a stored input is known by without reading it, so that what was computed from it need not be computed again."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

STAMP_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file's path, number, size and times in ns, and the place of an input in a file that holds many.

    Whoever writes a file moves its change time, which no program can set, even where size and date are put back.
    """

    path: str
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    place: int = 0

    @classmethod
    def of(cls, path: Path) -> FileStamp | None:
        """A file as it is now; None if it cannot be looked at."""
        try:
            found = path.stat()
        except OSError:
            return None
        return cls(os.fspath(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def at(self, place: int) -> FileStamp:
        """The input at a place in this file."""
        return replace(self, place=place)

    @property
    def changed_ns(self) -> int:
        """When the file last changed, as the file system's clock has it."""
        return max(self.mtime_ns, self.ctime_ns)

    def key(self, rule: str) -> bytes:
        """A short name for this input under a rule that it is processed by."""
        fields = (rule, self.path, self.inode, self.size, self.mtime_ns, self.ctime_ns, self.place)
        return hashlib.blake2b("\0".join(map(str, fields)).encode(), digest_size=STAMP_KEY_BYTES).digest()
