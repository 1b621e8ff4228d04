"""What a guard has read of one revision of a rollout: counts of sealed minutes, each prediction and label once.

Selection rates need no label and go by the minute of the prediction. What needs labels goes by the minute in which the
first label came, so that a label is used however late it comes; those of predictions made before the revision are left
out, since a version that is new has none: a champion with slow labels and a challenger with quick ones would differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from service.event import Cell
from service.evidence import Evidence, Question
from service.periods import Level
from triggers.rules import Rules

FINE_MINUTES, COARSE = 1440, 10
"""After a day minutes are kept by tens, so that months of evidence stay small."""


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

    `made` are predictions and `labelled` first labels, both of whole minutes up to `next_minute`.
    """

    stand: Stand
    start: int
    next_minute: int
    made: dict[int, Counter[Cell]] = field(default_factory=dict)
    labelled: dict[int, Counter[Cell]] = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)
    raised: dict[Question, str] = field(default_factory=dict)

    def catch_up(self, model: str, read: Read, sealed: int) -> bool:
        """Read the minutes before `sealed` that were not read yet; whether there were any. Raises StoreUnavailable."""
        until = self._whole(sealed)
        if until <= self.next_minute:
            return False
        made = read(model, Level.MINUTE, self.next_minute, until)
        labelled = read(model, Level.ARRIVAL, self.next_minute, until, self.start)
        self._keep(self.made, made)
        self._keep(self.labelled, labelled)
        self.next_minute = until
        return True

    def _keep(self, kept: dict[int, Counter[Cell]], found: Mapping[Cell, int]) -> None:
        for cell, n in found.items():
            begin = cell.minute if cell.minute - self.start < FINE_MINUTES else self._whole(cell.minute)
            kept.setdefault(begin, Counter())[cell._replace(minute=0)] += n

    def _whole(self, minute: int) -> int:
        """The last minute up to this one at which something that is kept together ends, and the next begins."""
        beyond = minute - self.start - FINE_MINUTES
        return minute if beyond <= 0 else minute - beyond % COARSE
