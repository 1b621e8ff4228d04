"""The static files of the dashboard: those in static/, and plotly's script from the installed package."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

STATIC_FOLDER = Path(__file__).parent / "static"
PAGE, WITHOUT_PLOTLY, PLOTLY = "index.html", "install.html", "plotly.min.js"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class StaticFile:
    """A file to send: `packed` is `content` compressed by gzip, `etag` its hash in quotes."""

    content: bytes
    packed: bytes
    etag: str
    media_type: str


def find_file(name: str) -> StaticFile | None:
    """A file by its name; None for an unknown name, and for plotly where it is not installed."""
    path = plotly_script() if name == PLOTLY else {each.name: each for each in STATIC_FOLDER.iterdir()}.get(name)
    if path is None or path.suffix not in MEDIA_TYPES:
        return None
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


def plotly_script() -> Path | None:
    """Path of the installed plotly's script; None without the extra `dashboard`."""
    package = find_spec("plotly")  # finds it without importing it
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "package_data" / PLOTLY
    return path if path.is_file() else None


@lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> StaticFile:
    """A file, cached by modification time and size; compressed once, since plotly's script is several megabytes."""
    content = path.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return StaticFile(content, gzip.compress(content, 6, mtime=0), etag, MEDIA_TYPES[path.suffix])
