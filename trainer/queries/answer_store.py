"""Answers of an endpoint, kept in the run's folder, so that no row is asked twice: not by a run that goes on either."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from triggers.storage.sqlite_file import SqliteFile

ANSWERS_FILE = "answers.sqlite"
ANSWERS_SCHEMA = (
    "CREATE TABLE answers (key BLOB PRIMARY KEY, outputs BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE model (fingerprint TEXT NOT NULL)",
)
LOOKED_UP = 500
"""Keys of one statement."""


class AnswerStore:
    """Outputs by the digest of the row that was sent. A file with another model's answers is emptied.

    It grows by what a run asks, so train.max_queries bounds it; delete the file to ask anew.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = SqliteFile(path, ANSWERS_SCHEMA, 1, synchronous="NORMAL")
        with self._file.write() as db:
            if db.execute("SELECT fingerprint FROM model").fetchone() != (fingerprint,):
                db.execute("DELETE FROM answers")
                db.execute("DELETE FROM model")
                db.execute("INSERT INTO model VALUES (?)", (fingerprint,))

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
        """Outputs (O,) of those rows whose answer is known."""
        found: dict[bytes, Tensor] = {}
        with self._file.read() as db:
            for start in range(0, len(keys), LOOKED_UP):
                some = keys[start : start + LOOKED_UP]
                marks = ",".join("?" * len(some))
                rows = db.execute(f"SELECT key, outputs FROM answers WHERE key IN ({marks})", some)  # nosec B608
                found |= {key: torch.from_numpy(np.frombuffer(blob, np.float32).copy()) for key, blob in rows}
        return found

    def keep(self, keys: Sequence[bytes], outputs: Tensor) -> None:
        """Write the outputs (N, O) of rows; they are on disk when this returns, unless the machine itself stops."""
        rows = zip(keys, (row.numpy().tobytes() for row in outputs.float().cpu()), strict=True)
        with self._file.write() as db:
            db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def row_keys(rows: Tensor | Sequence[str]) -> list[bytes]:
    """Digests of rows as they travel: pictures (N, ...) or texts."""
    content = (
        (row.numpy().tobytes() for row in rows.cpu()) if isinstance(rows, Tensor) else (row.encode() for row in rows)
    )
    return [hashlib.blake2b(each, digest_size=16).digest() for each in content]
