"""Counts of what was predicted, kept off the request path.

`record` adds to a dictionary and returns; a thread writes the dictionary to the ledger file every `flush_interval`
seconds, as one numbered batch in one transaction, so that a batch repeated after a failure counts once. Labels and
groups that come later are written before `feedback` returns. While the file cannot be written, counts wait in memory,
at most `max_cells` of them; beyond that they are dropped, counted, and reported by `possible_loss`, as are those of a
process that was killed.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from service.event import Cell, Event, Feedback
from service.ledger_file import Batch, LedgerFile, Outcome
from service.runs import Loss
from triggers.errors import StoreError
from triggers.fairness import UNKNOWN

OTHER = "other"
logger = logging.getLogger(__name__)


class Ledger:
    """The counts of all models of one service, in a file that several processes of a machine may share.

    At most `max_groups` group names per model are counted under their own name; later ones are counted as "other".
    `busy_seconds` is how long to wait for another process that is writing.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        flush_interval: float = 1.0,
        max_groups: int = 64,
        max_cells: int = 100_000,
        busy_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.flush_interval, self._max_groups, self._max_cells, self._clock = (
            flush_interval, max_groups, max_cells, clock,
        )  # fmt: skip
        self._memory, self._writing = threading.Lock(), threading.RLock()
        self._cells: Counter[Cell] = Counter()
        self._new_groups: set[tuple[str, str]] = set()
        self._batch: Batch | None = None  # being written, or waiting to be tried again
        self._batches = 0
        self._dropped: Loss | None = None
        self._run, self._stop = uuid.uuid4().hex, threading.Event()
        self._file = LedgerFile(Path(path), busy_seconds)
        self.lost_at_start = self._file.bury(clock())
        self._groups = self._file.groups()
        self._presence = self._file.start(self._run, flush_interval, clock())
        self._thread = threading.Thread(target=self._keep_flushing, name="ledger", daemon=True)
        self._thread.start()

    # ---- on the request path: memory only, safe from any thread ------------------------------------------------

    def admit(self, model: str, group: str | None) -> str:
        """The name under which `group` is counted: "unknown" for none, "other" when there are too many."""
        name = (group or "").strip() or UNKNOWN
        with self._memory:
            if name in (UNKNOWN, OTHER) or (model, name) in self._groups:
                return name
            if sum(1 for each, _ in self._groups if each == model) >= self._max_groups:
                return OTHER
            self._groups.add((model, name))
            self._new_groups.add((model, name))
            return name

    def record(self, event: Event) -> None:
        """Count a prediction. Never waits for the file and never raises."""
        cell, now = event.cell(), self._clock()
        with self._memory:
            if cell not in self._cells and self._waiting() >= self._max_cells:
                since = self._dropped.since if self._dropped else now
                count = self._dropped.dropped if self._dropped else 0
                self._dropped = Loss(since, now, count + 1, "dropped")
            else:
                self._cells[cell] += 1
            self._presence.recorded(now)

    def _waiting(self) -> int:
        return len(self._cells) + (len(self._batch.cells) if self._batch else 0)

    # ---- off the request path: these wait for the file and raise StoreUnavailable when it cannot be used --------

    def feedback(self, items: Sequence[Feedback]) -> list[Outcome]:
        """Enter late labels and groups; they are kept when this returns. Repeating it changes nothing."""
        admitted = [
            item if item.group is None else item._replace(group=self.admit(item.event.model, item.group))
            for item in items
        ]
        with self._writing:
            self.flush()  # a prediction must be counted before its count is moved
            return self._file.feedback(admitted)

    def counts(self, model: str, since_minute: int, until_minute: int) -> dict[Cell, int]:
        """Counts of a model by cell, summed over the minutes [since, until); see `as_of` for how fresh they are."""
        try:
            self.flush()
        except StoreError as error:
            logger.warning("Statistics are older than they should be: %s", error)
        return self._file.counts(model, since_minute, until_minute)

    def possible_loss(self, since: float, until: float) -> list[Loss]:
        """What may be missing from the counts between two moments: killed processes and dropped counts."""
        with self._writing:
            written = self._file.losses(since, until)
            with self._memory:
                pending = [self._batch.loss if self._batch else None, self._dropped]
        return written + [loss for loss in pending if loss and loss.since <= until and loss.until >= since]

    @property
    def as_of(self) -> float:
        """Everything that this process recorded before this moment (seconds since 1970) is in the counts."""
        return self._presence.clean_at

    def crowded(self, model: str) -> bool:
        """Whether the model has as many group names as are counted on their own."""
        with self._memory:
            return sum(1 for each, _ in self._groups if each == model) >= self._max_groups

    # ---- flushing ----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what is in memory. After a failure the same batch is tried again before anything newer."""
        with self._writing:
            for _ in ("a batch that failed before", "what came since"):
                batch = self._next_batch()
                if batch is None:
                    return
                self._file.apply(self._run, batch)
                with self._memory:
                    self._batch = None
                    self._presence.flushed(batch.taken_at, dirty=bool(self._cells or self._dropped))

    def _next_batch(self) -> Batch | None:
        with self._memory:
            if self._batch is None and (self._cells or self._new_groups or self._dropped):
                self._batches += 1
                groups = frozenset(self._new_groups)
                self._batch = Batch(self._batches, self._clock(), self._cells, groups, self._dropped)
                self._cells, self._new_groups, self._dropped = Counter(), set(), None
            elif self._batch is None:
                self._presence.flushed(self._clock(), dirty=False)
            return self._batch

    def _keep_flushing(self) -> None:
        minute, failing = 0, False
        while not self._stop.wait(self.flush_interval):
            try:
                self.flush()
                if self._clock() // 60 != minute:
                    minute = int(self._clock() // 60)
                    self._look_around()
                failing = False
            except Exception as error:
                if not failing:
                    logger.error("Counts cannot be written and wait in memory: %s", error)
                failing = True

    def _look_around(self) -> None:
        """Once a minute: notice killed neighbours and group names that they found."""
        self._file.bury(self._clock())
        groups = self._file.groups()
        with self._memory:
            self._groups |= groups

    def close(self) -> None:
        """Write what is left and leave in good order; if that fails, the next start reports a possible loss."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        in_order = False
        try:
            self.flush()
            self._file.finish(self._run, self._clock())
            in_order = True
        except StoreError as error:
            logger.error("The last counts could not be written: %s", error)
        self._presence.close(in_order=in_order)
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
