"""Counts of predictions, written off the request path.

`record` adds to a dictionary and returns; a thread writes the dictionary to the ledger's store every `flush_interval`
seconds, as one numbered batch in one transaction, so that a batch repeated after a failure counts once. Labels and
groups that come later, and observations, are written before `feedback` and `observe` return. While the store cannot be
used, counts wait in memory, at most `max_cells` of them; beyond that they are dropped, counted, and reported by
`possible_loss`, as are the possible losses of killed processes.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from service.ledger.backend import (
    CountBatch,
    FeedbackOutcome,
    LedgerStore,
    Observation,
    Release,
    StoredObservation,
)
from service.ledger.declared_groups import DeclaredGroups
from service.ledger.events import Cell, Feedback, PredictionEvent
from service.ledger.process_liveness import Loss
from service.ledger.time_buckets import Level
from triggers.errors import ConfigError, StoreError, StoreUnavailable
from triggers.metrics.overlapping_groups import UNDECLARED, UNKNOWN

OTHER_GROUP = "other"
logger = logging.getLogger(__name__)


class Ledger:
    """The counts of all models of one service, in a store that its replicas share.

    `where` is a file, for the processes of one machine, or a URL such as redis://host:6379/0; `runs` is a local folder
    for liveness files. At most `max_groups` names per model that were not declared (see `declare`) are counted under
    their own name; later ones as "other". `busy_seconds` is the longest wait for the store.
    """

    def __init__(
        self,
        where: Path | str,
        *,
        runs: Path | None = None,
        flush_interval: float = 1.0,
        max_groups: int = 64,
        max_cells: int = 100_000,
        busy_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.flush_interval, self._max_groups, self._max_cells, self._clock = (
            flush_interval, max_groups, max_cells, clock,
        )  # fmt: skip
        self._memory, self._writing = threading.Lock(), threading.Lock()
        self._cells: Counter[Cell] = Counter()
        self._new_groups: set[tuple[str, str]] = set()
        self._declared: dict[str, DeclaredGroups] = {}
        self._places: dict[str, set[str]] = {}  # what `_placed` found, until its grounds change
        self._batch: CountBatch | None = None  # being written, or waiting to be tried again
        self._batches = 0
        self._dropped: Loss | None = None
        self._run, self._stop = uuid.uuid4().hex, threading.Event()
        self._failures, self._patience = 0, busy_seconds
        self._store = open_ledger_store(where, runs, busy_seconds)
        self.lost_at_start = self._store.reap_dead_runs(clock())
        self._groups = self._store.groups()
        self._presence = self._store.start(self._run, flush_interval, clock())
        self._thread = threading.Thread(target=self._keep_flushing, name="ledger", daemon=True)
        self._thread.start()

    # ---- on the request path: memory only, safe from any thread ------------------------------------------------

    def declare(self, model: str, groups: DeclaredGroups | None) -> None:
        """Count a model's declared groups by name, and all others as "undeclared"; None: count any name.

        Declared names do not count towards `max_groups`; combinations of them do, as all names without declarations.
        """
        with self._memory:
            self._places.clear()
            if groups is None:
                self._declared.pop(model, None)
            else:
                self._declared[model] = groups

    def canonical_group(self, model: str, group: str | None) -> str:
        """The name under which `group` is counted: "unknown" for none, "undeclared", "other" beyond `max_groups`."""
        declared = self._declared.get(model)
        if declared is None and group is not None and (model, group) in self._groups:  # the common case, without a lock
            return group
        name = (group or "").strip() or UNKNOWN
        if name == UNKNOWN:
            return name
        if declared is None:
            return name if name in (OTHER_GROUP, UNDECLARED) else self._in_place(model, name)
        spelled = declared.spelled(name)
        if spelled is None:
            return UNDECLARED
        return spelled if spelled in declared.names else self._in_place(model, spelled)

    def declared(self, model: str) -> bool:
        """Whether any group of the model is declared."""
        return bool(self._declared.get(model))

    def _in_place(self, model: str, name: str) -> str:
        """The name, if it is or can become one of the `max_groups` names; else "other"."""
        with self._memory:
            if (model, name) in self._groups:
                return name
            if len(self._placed(model)) >= self._max_groups:
                return OTHER_GROUP
            self._placed(model).add(name)
            self._groups.add((model, name))
            self._new_groups.add((model, name))
            return name

    def _placed(self, model: str) -> set[str]:
        """Names that count towards `max_groups`: with declarations, only combinations of declared names."""
        if model not in self._places:
            names, declared = {name for each, name in self._groups if each == model}, self._declared.get(model)
            if declared is not None:
                names = {name for name in names - declared.names if declared.spelled(name) == name}
            self._places[model] = names
        return self._places[model]

    def record(self, event: PredictionEvent) -> None:
        """Count a prediction. On any thread: never waits for the store and never raises."""
        self.count(event.cell())

    def count(self, cell: Cell) -> None:
        """Count a prediction by its cell; as `record`."""
        now = self._clock()
        with self._memory:
            known = self._cells.get(cell)
            if known is None and self._waiting() >= self._max_cells:
                since = self._dropped.since if self._dropped else now
                count = self._dropped.dropped if self._dropped else 0
                self._dropped = Loss(since, now, count + 1, "dropped")
            else:
                self._cells[cell] = (known or 0) + 1
            self._presence.recorded(now)

    def _waiting(self) -> int:
        return len(self._cells) + (len(self._batch.cells) if self._batch else 0)

    # ---- off the request path: these wait for the store and raise StoreUnavailable when it cannot be used --------

    def feedback(self, items: Sequence[Feedback]) -> list[FeedbackOutcome]:
        """Write late labels and groups; they are stored when this returns. Repeating it changes nothing."""
        admitted = [
            item if item.group is None else item._replace(group=self.canonical_group(item.event.model, item.group))
            for item in items
        ]
        with self._in_turn():
            self._flush()  # a prediction must be counted before its count is moved
            return self._store.feedback(admitted, self._clock())

    def observe(self, items: Sequence[Observation], most: int) -> list[StoredObservation | None]:
        """Count observations of one series, whose groups are canonical; repeating it counts none again.

        None for those beyond `most` that a series knows.
        """
        with self._in_turn():
            self._flush()  # it holds the new group names
            return self._store.observe(items, self._clock(), most)

    def counts(self, model: str, since_minute: int, until_minute: int) -> dict[Cell, int]:
        """Counts of a model by cell, summed over the minutes [since, until); see `as_of` for how fresh they are."""
        self._try_to_flush()
        return self._store.counts(model, since_minute, until_minute)

    def series(
        self, model: str, level: Level, since_minute: int, until_minute: int, made_since: int = 0
    ) -> dict[Cell, int]:
        """Counts by minute, hour, day, or minute in which the first label came; a cell's minute starts its period.

        `made_since` is for Level.ARRIVAL: only labels of predictions made in that minute or later.
        """
        self._try_to_flush()
        return self._store.series(model, level, since_minute, until_minute, made_since)

    def releases(self, model: str, size: int, since_minute: int, until_minute: int) -> dict[int, Release]:
        """Releases of the periods of `size` minutes, by first minute."""
        return self._store.releases(model, size, since_minute, until_minute)

    def release(self, model: str, size: int, minute: int, new: Release) -> bool:
        """Store a period's release; False if another process did so first."""
        return self._store.release(model, size, minute, new)

    def possible_loss(self, since: float, until: float) -> list[Loss]:
        """Possible losses between two times (seconds since 1970): of killed processes, and dropped counts."""
        written = self._store.losses(since, until)
        return written + [loss for loss in self.unwritten_loss() if loss.since <= until and loss.until >= since]

    def unwritten_loss(self) -> list[Loss]:
        """Losses of this process that are not in the store yet; never waits."""
        with self._memory:
            return [loss for loss in (self._batch.loss if self._batch else None, self._dropped) if loss]

    @property
    def as_of(self) -> float:
        """Time (seconds since 1970) up to which everything that this process recorded is in the counts."""
        return self._presence.clean_at

    def groups(self, model: str) -> set[str]:
        """The group names of a model that are counted on their own."""
        declared = self._declared.get(model, DeclaredGroups())
        with self._memory:
            return self._placed(model) | declared.names

    def group_limit_reached(self, model: str) -> bool:
        """Whether the model has as many group names as are counted on their own."""
        with self._memory:
            return len(self._placed(model)) >= self._max_groups

    # ---- flushing ----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the counts in memory. After a failure the same batch is tried again before anything newer."""
        with self._in_turn():
            self._flush()

    def _flush(self) -> None:
        for _ in ("a batch that failed before", "what came since"):
            batch = self._next_batch()
            if batch is None:
                return
            self._store.apply(self._run, batch)
            with self._memory:
                self._batch = None
                self._presence.flushed(batch.taken_at, dirty=bool(self._cells or self._dropped))

    def _try_to_flush(self) -> None:
        try:
            self.flush()
        except StoreError as error:
            logger.warning("Statistics are older than they should be: %s", error)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """One writer at a time. Threads that waited while the store failed raise at once."""
        failures = self._failures
        if not self._writing.acquire(timeout=2 * self._patience):
            raise StoreUnavailable("The ledger is busy: try again.")
        try:
            if self._failures != failures:
                raise StoreUnavailable("The ledger's store could not be used just now: try again.")
            with self._counted():
                yield
        finally:
            self._writing.release()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable:
            self._failures += 1
            raise

    def _next_batch(self) -> CountBatch | None:
        with self._memory:
            if self._batch is None and (self._cells or self._new_groups or self._dropped):
                self._batches += 1
                groups = frozenset(self._new_groups)
                self._batch = CountBatch(self._batches, self._clock(), self._cells, groups, self._dropped)
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
                    self._refresh()
                failing = False
            except Exception as error:
                if not failing:
                    logger.error("Counts cannot be written and wait in memory: %s", error)
                failing = True

    def _refresh(self) -> None:
        """Once a minute: reap killed processes, and read the group names that other processes added."""
        self._store.reap_dead_runs(self._clock())
        groups = self._store.groups()
        with self._memory:
            if not groups <= self._groups:
                self._groups |= groups
                self._places.clear()

    def close(self) -> None:
        """Write the remaining counts and end the run cleanly; if that fails, the next start reports a possible loss."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        in_order = False
        try:
            self.flush()
            self._store.finish(self._run, self._clock())
            in_order = True
        except StoreError as error:
            logger.error("The last counts could not be written: %s", error)
        self._presence.close(in_order=in_order)
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_ledger_store(where: Path | str, runs: Path | None, seconds: float) -> LedgerStore:
    """Open a store by its address: a file, or a URL of triggers/storage/redis_client.py.

    `runs` is the local folder of liveness files, by default next to the file; `seconds` is the longest wait of one
    operation. Raises ConfigError for any other address.
    """
    scheme, separator, _ = str(where).partition("://")
    if not separator:
        from service.ledger.sqlite_ledger import SqliteLedger

        return SqliteLedger(Path(where), seconds, runs)
    if scheme.partition("+")[0] not in ("redis", "rediss", "unix"):
        raise ConfigError(f"The ledger's address begins with {scheme}://; give a file, or redis://host:port/0.")
    if runs is None:
        raise ConfigError("A ledger in Redis needs a folder of this machine for `runs`.")
    from service.ledger.redis_ledger import RedisLedger

    return RedisLedger(str(where), seconds, runs)
