"""Static files of pages: read and packed once, sent with an ETag and under the page's own headers."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import Request, Response

MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class StaticFile:
    """A file to send: `packed` is `content` compressed by gzip, `etag` its hash in quotes."""

    content: bytes
    packed: bytes
    etag: str
    media_type: str


def static_file(path: Path | None) -> StaticFile | None:
    """A file by its path; None for no path and for an unknown kind of file."""
    if path is None or path.suffix not in MEDIA_TYPES:
        return None
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


def package_file(package: str, name: str) -> Path | None:
    """Path of a file in an installed package, which is not imported; None without it."""
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / name
    return path if path.is_file() else None


def static_answer(request: Request, file: StaticFile, headers: Mapping[str, str], status: int = 200) -> Response:
    """A file in an encoding that the client accepts; 304 if the client has it already."""
    headers = {**headers, "ETag": file.etag, "Vary": "Accept-Encoding"}
    if file.etag in request.headers.get("if-none-match", "") and status == 200:
        return Response(status_code=304, headers=headers)
    packs = "gzip" in request.headers.get("accept-encoding", "")
    if packs:
        headers["Content-Encoding"] = "gzip"
    return Response(file.packed if packs else file.content, status, headers, file.media_type)


@lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> StaticFile:
    """A file, cached by modification time and size; compressed once, since some are several megabytes."""
    content = path.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return StaticFile(content, gzip.compress(content, 6, mtime=0), etag, MEDIA_TYPES[path.suffix])
