"""Content digests of inputs, which keep the parts apart; read once, then looked up by the files' stamps.

The index of digests is a file in the folder of decoded data: pairs of a stamp's key and a digest, and a checksum. An
input whose file changed lately gets no entry: a second change could share its time, as file clocks are coarse.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trainer.data.parallel_map import parallel_map
from trainer.data.sources.bad_rows import BadRows
from trainer.data.sources.base import Source
from trainer.data.sources.file_stamps import STAMP_KEY_BYTES
from trainer.progress import Progress
from triggers.errors import DataError
from triggers.storage import write_atomically
from triggers.storage.regular_file import read_regular

RULE = "sha256 of the bytes, or of the text case-folded with single blanks; 1"
DIGEST_BYTES = 32
SETTLED_NS = 2_000_000_000
"""Nanoseconds until a file's times are trusted: the coarsest known file system clock ticks every two seconds."""


def content_digests(
    source: Source,
    rows: Sequence[int],
    cache: Path,
    data: Path,
    progress: Progress,
    now_ns: Callable[[], int] = time.time_ns,
    bad_rows: BadRows | None = None,
) -> list[str]:
    """A digest per row: of an image file's bytes, or of a text without its case and spacing; "" if `bad_rows` skips it.

    `cache` is the folder of the index, `data` the path of the data that the index is for. Raises DataError.
    """
    index = cache / f"contents-{hashlib.sha256(str(data).encode()).hexdigest()[:16]}.index"
    known = _load(index)
    stamps = [source.stamp(row) for row in rows]  # before reading, so that a change in between is seen next time
    keys = [stamp.key(RULE) if stamp else None for stamp in stamps]
    found = {at: known[key] for at, key in enumerate(keys) if key in known}
    missing = [at for at in range(len(rows)) if at not in found]
    began = now_ns()
    with progress.task("read data", len(rows), done=len(found)) as task:
        for at, digest in zip(missing, parallel_map(lambda at: _read_digest(source, rows[at]), missing), strict=True):
            found[at] = digest if isinstance(digest, bytes) else b""
            if isinstance(digest, DataError):
                _refuse_or_skip(source.rows[rows[at]].id, digest, bad_rows)
            task.advance()
    settled = {
        key: found[at]
        for at, (key, stamp) in enumerate(zip(keys, stamps, strict=True))
        if found[at] and key and stamp and stamp.changed_ns < began - SETTLED_NS
    }
    if not settled.keys() <= known.keys():
        _save(index, settled)
    return [found[at].hex() for at in range(len(rows))]


def _read_digest(source: Source, row: int) -> bytes | DataError:
    try:
        return _digest(source.read(row))
    except DataError as error:
        return error


def _refuse_or_skip(id: str, error: DataError, bad_rows: BadRows | None) -> None:
    if bad_rows is None:
        raise error
    bad_rows.refuse_or_skip(id, "unreadable input", str(error).rstrip("."))


def _digest(raw: bytes | str) -> bytes:
    data = raw if isinstance(raw, bytes) else " ".join(raw.casefold().split()).encode()
    return hashlib.sha256(data).digest()


def _load(index: Path) -> Mapping[bytes | None, bytes]:
    """The entries of an index; empty if it is missing or damaged."""
    content = read_regular(index) if index.exists() else b""
    body, check = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    size = STAMP_KEY_BYTES + DIGEST_BYTES
    if len(body) % size or check != hashlib.sha256(body).digest():
        return {}
    entries = (body[start : start + size] for start in range(0, len(body), size))
    return {entry[:STAMP_KEY_BYTES]: entry[STAMP_KEY_BYTES:] for entry in entries}


def _save(index: Path, entries: Mapping[bytes, bytes]) -> None:
    body = b"".join(key + digest for key, digest in entries.items())
    index.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(index, body + hashlib.sha256(body).digest())
