"""The pipeline of a scoring: rows are read in windows, prepared on threads, computed on every device, told in order.

Only a few windows are in memory at once, however many rows there are.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np

from fairtrigger.scoring.batch_scorer import BatchScorer
from fairtrigger.scoring.score_file import ScoredRows
from trainer.data import InputRow, InputTable, UnusableInput
from triggers.errors import DataError, InputError
from triggers.model import Item
from triggers.preprocessing import TokenIds

WINDOW_BATCHES = 8
"""Batches of a window: texts of alike length are put together within it."""

TableRow: TypeAlias = InputRow | UnusableInput


class PreparedRow(NamedTuple):
    """A row with its item, or as an unusable one, and the digest of all that was read of it."""

    row: TableRow
    item: Item | None
    digest: bytes


class ScoredWindow(NamedTuple):
    """The results of consecutive rows [first, end); `digests` has one for each of them, `cut` counts cut texts."""

    first: int
    end: int
    scored: ScoredRows
    bad: Sequence[UnusableInput]
    digests: Sequence[bytes]
    cut: int


class ScoringPipeline:
    """Scores the rows of a table by scorers on devices of their own, all of one model; closed by leaving the block."""

    def __init__(self, table: InputTable, scorers: Sequence[BatchScorer], window: int, workers: int) -> None:
        self._table, self._scorers, self._size, self._workers = table, scorers, window, workers

    def __enter__(self) -> ScoringPipeline:
        self._stack = ExitStack()
        self._threads = self._pool(self._workers, "prepare")
        self._lanes = [self._pool(1, "score") for _ in self._scorers]
        return self

    def _pool(self, threads: int, name: str) -> ThreadPoolExecutor:
        made = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._stack.callback(made.shutdown, cancel_futures=True)
        return made

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def digests(self, rows: Iterator[TableRow]) -> Iterator[bytes]:
        """The digests of rows, in order, without scoring them."""
        for window in self._windows(rows):
            yield from self._threads.map(lambda row: self._read(row)[1], window)

    def results(self, rows: Iterator[TableRow]) -> Iterator[ScoredWindow]:
        """The results of rows, in order."""
        pending: deque[Future[ScoredWindow]] = deque()
        for number, window in enumerate(self._windows(rows)):
            size = -(-len(window) // self._workers)
            parts = [window[start : start + size] for start in range(0, len(window), size)]
            prepared = [self._threads.submit(self._prepare, part) for part in parts]
            lane = number % len(self._lanes)
            pending.append(self._lanes[lane].submit(self._score, self._scorers[lane], prepared))
            if len(pending) > len(self._lanes) + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _windows(self, rows: Iterator[TableRow]) -> Iterator[list[TableRow]]:
        while window := list(islice(rows, self._size)):
            yield window

    def _read(self, row: TableRow) -> tuple[bytes | str | UnusableInput, bytes]:
        """A row's input, or why there is none, and the row's digest."""
        if isinstance(row, UnusableInput):
            return row, _digest([row.id, row.kind, row.problem], b"")
        header = [row.id, row.label, row.groups]
        try:
            raw = self._table.read(row)
        except DataError as error:
            problem = str(error).rstrip(".")
            return UnusableInput(row.number, row.id, "unreadable input", problem), _digest([*header, problem], b"")
        return raw, _digest(header, raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw)

    def _prepare(self, rows: Sequence[TableRow]) -> list[PreparedRow]:
        return [self._prepared(row) for row in rows]

    def _prepared(self, row: TableRow) -> PreparedRow:
        raw, digest = self._read(row)
        if isinstance(raw, UnusableInput):
            return PreparedRow(raw, None, digest)
        try:
            return PreparedRow(row, self._scorers[0].prepare(raw), digest)
        except InputError as error:
            problem = str(error).rstrip(".")
            return PreparedRow(UnusableInput(row.number, row.id, error.code, problem), None, digest)

    def _score(self, scorer: BatchScorer, prepared: Sequence[Future[list[PreparedRow]]]) -> ScoredWindow:
        found = [each for part in prepared for each in part.result()]
        rows = [each.row for each in found if isinstance(each.row, InputRow)]
        items = [each.item for each in found if each.item is not None]
        table = scorer.scores(items)
        labels = np.array([[scorer.label_of(row) for row in each] for each in table], np.int64)
        return ScoredWindow(
            found[0].row.number,
            found[-1].row.number + 1,
            ScoredRows(rows, table, labels),
            [each.row for each in found if isinstance(each.row, UnusableInput)],
            [each.digest for each in found],
            sum(isinstance(item, TokenIds) and item.truncated for item in items),
        )


def chained(digest: bytes, rows: Sequence[bytes]) -> bytes:
    """The digest of an input, grown by the digests of its next rows."""
    for row in rows:
        digest = hashlib.sha256(digest + row).digest()
    return digest


def _digest(header: Sequence[object], content: bytes) -> bytes:
    framed = json.dumps(header).encode()
    return hashlib.sha256(len(framed).to_bytes(4, "big") + framed + content).digest()
