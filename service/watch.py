"""What a guard knows of one revision of a rollout: evidence from sealed minutes, each prediction and label once.

Selection rates need no label and go by the minute of the prediction. What needs labels goes by the minute in which the
first label came, so that a label is used however late it comes; those of predictions made before the revision are left
out, since a version that is new has none: a champion with slow labels and a challenger with quick ones would differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from service.event import Cell
from service.evidence import Evidence, Question, SequentialTests
from service.periods import Level
from triggers.rules import Rules

FINE_MINUTES, COARSE = 1440, 10
"""After a day minutes are weighed by tens, so that a guard that starts late has soon caught up."""
MINUTES_AT_ONCE = 240
"""Read at once by a guard that catches up, so that it never holds a week of minutes."""


class Read(Protocol):
    """`Ledger.series`: counts whose `minute` is that of the prediction, or at ARRIVAL that of its first label."""

    def __call__(
        self, model: str, level: Level, since_minute: int, until_minute: int, made_since: int = 0
    ) -> Mapping[Cell, int]: ...


@dataclass(frozen=True)
class Stand:
    """What serves a model, as far as a guard must know it; `since` is when (seconds since 1970) this began."""

    revision: int
    since: float
    champion: int | None
    challenger: int | None = None
    challenged: bool = False
    twins: bool = False
    rules: Rules | None = None


@dataclass
class Watch:
    """The evidence on one revision from the minute `start` on, and which alarms were raised.

    `tests` hold whole minutes up to `next_minute`: predictions, and first labels. A minute is read once; what is
    counted in it later is in the statistics, not in the evidence.
    """

    stand: Stand
    start: int
    next_minute: int
    tests: SequentialTests
    evidence: list[Evidence] = field(default_factory=list)
    raised: dict[Question, str] = field(default_factory=dict)

    def catch_up(self, model: str, read: Read, sealed: int) -> bool:
        """Read and weigh the next of the minutes before `sealed`; whether there were any. Raises StoreUnavailable."""
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
        """The last minute up to this one at which something that is kept together ends, and the next begins."""
        beyond = minute - self.start - FINE_MINUTES
        return minute if beyond <= 0 else minute - beyond % COARSE
