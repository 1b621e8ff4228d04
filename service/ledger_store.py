"""Where a ledger keeps its counts: what every backing store can do.

Whatever changes a store is one transaction and may safely be repeated after a lost answer: a batch is known by its run
and number, feedback by the nonce of its receipt. Every method raises StoreUnavailable when the store cannot be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from service.event import Cell, Feedback
from service.periods import Level
from service.runs import Loss, Presence

NONE = -1  # as stored: a label or a bare prediction that there is not; version 0 is the bare model


class Outcome(StrEnum):
    """What feedback did: it added something, it replaced something known, or it said nothing new."""

    COUNTED = "counted"
    CORRECTED = "corrected"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Batch:
    """What one process recorded between two flushes; `number` grows by one per batch of a run."""

    number: int
    taken_at: float
    cells: Mapping[Cell, int]
    groups: frozenset[tuple[str, str]]
    loss: Loss | None


class Release(NamedTuple):
    """What was disclosed of one period, `text`, and how often that changed, from 1 on."""

    revision: int
    text: str


class LedgerStore(Protocol):
    """Counts, what is known of labelled predictions, runs and losses, for all replicas of a service."""

    def start(self, run: str, interval: float, now: float) -> Presence:
        """Enter a run (one process, from start to end)."""

    def finish(self, run: str, now: float) -> None:
        """Note that a run ended in good order."""

    def bury(self, now: float) -> list[Loss]:
        """Close the runs of killed processes, once each, and return what they may have lost; prune what is too old."""

    def apply(self, run: str, batch: Batch) -> None:
        """Count a batch, unless it was counted before."""

    def feedback(self, items: Sequence[Feedback], now: float) -> list[Outcome]:
        """Move each prediction from the cell it is counted in to the one where it belongs now.

        A prediction whose label overtakes its count leaves a debt in the cell that it leaves, which its count settles
        when it comes; until then, or for ever if the count was lost, that debt counts as zero.
        """

    def counts(self, model: str, since_minute: int, until_minute: int) -> dict[Cell, int]:
        """Counts of a model from `since_minute` up to and without `until_minute`, summed over minutes (given as 0)."""

    def series(
        self, model: str, level: Level, since_minute: int, until_minute: int, made_since: int = 0
    ) -> dict[Cell, int]:
        """Counts by period of one level, for whole periods; a cell's minute is the first of its period.

        `made_since` is for ARRIVAL: only labels of predictions made in this minute or later.
        """

    def groups(self) -> set[tuple[str, str]]:
        """All (model, group name) ever counted."""

    def losses(self, since: float, until: float) -> list[Loss]:
        """What may be missing from the counts of a stretch of time, oldest first."""

    def releases(self, model: str, size: int, since_minute: int, until_minute: int) -> dict[int, Release]:
        """What was disclosed of the periods of `size` minutes, by first minute; kept for RELEASE_DAYS."""

    def release(self, model: str, size: int, minute: int, new: Release) -> bool:
        """Replace what was disclosed of a period, unless another process did so first (then its revision is taken)."""

    def close(self) -> None:
        """Let go of the store."""
