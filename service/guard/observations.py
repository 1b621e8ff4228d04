"""The guard's observations of one rollout revision: sealed minutes, with each prediction and first label once.

Selection rates need no label and go by the minute of the prediction. Rates that need labels go by the minute in which
the first label arrived, so that late labels are used too; labels of predictions made before the revision are left out,
since a new version has none: a champion with slow labels and a challenger with quick ones would differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from service.guard.sequential_tests import Evidence, Hypothesis, SequentialTests
from service.ledger import Cell, Level
from triggers.rollout import GuardRules

FINE_MINUTES, COARSE = 1440, 10
"""After FINE_MINUTES, minutes are added COARSE at a time, so that a guard that starts late catches up soon."""
MINUTES_AT_ONCE = 240
"""Minutes read at once while catching up, which bounds memory."""


class ReadCounts(Protocol):
    """`Ledger.series`: counts whose `minute` is that of the prediction, or at ARRIVAL that of its first label."""

    def __call__(
        self, model: str, level: Level, since_minute: int, until_minute: int, made_since: int = 0
    ) -> Mapping[Cell, int]: ...


@dataclass(frozen=True)
class ServingState:
    """Serving versions and guard rules of a rollout revision, which began at `since` (seconds since 1970)."""

    revision: int
    since: float
    champion: int | None
    challenger: int | None = None
    challenged: bool = False
    twins: bool = False
    rules: GuardRules | None = None


@dataclass
class GuardState:
    """The evidence on one revision from the minute `start` on, and the alarms `raised`, with what was done.

    `tests` hold whole minutes up to `next_minute`: predictions, and first labels. A minute is read once; later counts
    for it are in the statistics, not in the evidence.
    """

    serving_state: ServingState
    start: int
    next_minute: int
    tests: SequentialTests
    evidence: list[Evidence] = field(default_factory=list)
    raised: dict[Hypothesis, str] = field(default_factory=dict)

    def catch_up(self, model: str, read: ReadCounts, sealed: int) -> bool:
        """Read and test the next minutes before `sealed`; False if there were none. Raises StoreUnavailable."""
        until = self._whole(min(sealed, self.next_minute + MINUTES_AT_ONCE))
        if until <= self.next_minute:
            return False
        made = read(model, Level.MINUTE, self.next_minute, until)
        labelled = read(model, Level.ARRIVAL, self.next_minute, until, self.start)
        self.tests.add(self._by_minute(made), self._by_minute(labelled))
        self.next_minute = until
        return True

    def _by_minute(self, found: Mapping[Cell, int]) -> dict[int, dict[Cell, int]]:
        minutes: dict[int, dict[Cell, int]] = {}
        for cell, n in found.items():
            begin = cell.minute if cell.minute - self.start < FINE_MINUTES else self._whole(cell.minute)
            minutes.setdefault(begin, {})[cell] = n
        return minutes

    def _whole(self, minute: int) -> int:
        """The last boundary up to this minute: every minute at first, after FINE_MINUTES every COARSE minutes."""
        beyond = minute - self.start - FINE_MINUTES
        return minute if beyond <= 0 else minute - beyond % COARSE
