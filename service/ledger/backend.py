"""The interface of a ledger's store.

A change is one transaction and may be repeated after a lost answer: a batch is known by its run and number, feedback by
its nonce, an observation by its key. Methods wait for the store (not on the event loop) and raise StoreUnavailable when
it cannot be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from service.ledger.events import Cell, Feedback, PredictionEvent
from service.ledger.process_liveness import LivenessFile, Loss
from service.ledger.time_buckets import Level

NOTHING = -1  # stored for a missing label or bare prediction; version 0 is the bare model


class FeedbackOutcome(StrEnum):
    """Effect of one piece of feedback: something new, a correction of something known, or no change."""

    COUNTED = "counted"
    CORRECTED = "corrected"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class CountBatch:
    """Counts of one process between two flushes, at `taken_at` (seconds since 1970); `number` grows by 1 in a run."""

    number: int
    taken_at: float
    cells: Mapping[Cell, int]
    groups: frozenset[tuple[str, str]]
    loss: Loss | None


class Release(NamedTuple):
    """The disclosed tables of one period, as JSON `text`, and their revision, from 1 on."""

    revision: int
    text: str


class Observation(NamedTuple):
    """A prediction that another system made: `key` (bytes) is its id in its series, `receipt` its prediction id."""

    key: bytes
    receipt: str
    event: PredictionEvent
    label: int | None = None

    @property
    def cell(self) -> Cell:
        """Where it is counted."""
        return self.event.cell(self.label)


class StoredObservation(NamedTuple):
    """The receipt under which an observation is counted; `fresh`: it was counted just now, not before."""

    receipt: str
    fresh: bool


class LedgerStore(Protocol):
    """Store of counts, labelled predictions, runs and losses, shared by all replicas of a service."""

    def start(self, run: str, interval: float, now: float) -> LivenessFile:
        """Register a run (one process, from start to end)."""

    def finish(self, run: str, now: float) -> None:
        """Record that a run ended cleanly."""

    def reap_dead_runs(self, now: float) -> list[Loss]:
        """Close the runs of killed processes, once each, and return their possible losses; delete expired rows."""

    def apply(self, run: str, batch: CountBatch) -> None:
        """Count a batch, unless it was counted before."""

    def feedback(self, items: Sequence[Feedback], now: float) -> list[FeedbackOutcome]:
        """Move each prediction from its current cell to that of its new label and group.

        A label that arrives before its prediction's count makes the old cell negative until that count arrives.
        Negative cells read as zero, for ever if the count was lost.
        """

    def observe(self, items: Sequence[Observation], now: float, most: int) -> list[StoredObservation | None]:
        """Count observations of one series, each with its key: one whose key is known there is not counted again.

        A series holds `most` keys, each for OBSERVED_DAYS; what is beyond is not counted, and None. A part of the items
        may be counted when this raises.
        """

    def counts(self, model: str, since_minute: int, until_minute: int) -> dict[Cell, int]:
        """Counts of a model over the minutes [since, until), by cell with minute 0."""

    def series(
        self, model: str, level: Level, since_minute: int, until_minute: int, made_since: int = 0
    ) -> dict[Cell, int]:
        """Counts by period of one level, for whole periods; a cell's minute is the first of its period.

        `made_since` is for ARRIVAL: only labels of predictions made in this minute or later.
        """

    def groups(self) -> set[tuple[str, str]]:
        """All (model, group name) ever counted."""

    def losses(self, since: float, until: float) -> list[Loss]:
        """Possible losses between two times (seconds since 1970), oldest first."""

    def releases(self, model: str, size: int, since_minute: int, until_minute: int) -> dict[int, Release]:
        """Releases of the periods of `size` minutes, by first minute; kept for RELEASE_DAYS."""

    def release(self, model: str, size: int, minute: int, new: Release) -> bool:
        """Store a period's release; False if another process stored that revision, or a later one, first."""

    def close(self) -> None:
        """Release connections and files."""
