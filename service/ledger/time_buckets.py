"""Minutes, hours and days since 1970 (UTC): the levels at which counts are kept, and the split of a window into them.

Every change of a count goes to all three levels in one transaction, so an hour is always the sum of its minutes and a
day the sum of its hours, late labels included. Minutes and hours older than every window are deleted; a label that
arrives later changes only the remaining levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

MINUTES_PER_DAY = 1440
LABEL_DAYS = 400
"""Days for which feedback is accepted; rows of labelled predictions are kept a little longer."""
RELEASE_DAYS = 400
"""Days for which releases are kept."""
OBSERVED_DAYS = 8
"""Days for which observations are known by their ids, so that none is counted twice."""


class Level(IntEnum):
    """Time resolution of a count; ARRIVAL counts first labels by the minute of their arrival."""

    MINUTE = 0
    HOUR = 1
    DAY = 2
    ARRIVAL = 3

    @property
    def minutes(self) -> int:
        """Length of one period in minutes."""
        return {Level.HOUR: 60, Level.DAY: MINUTES_PER_DAY}.get(self, 1)

    @property
    def kept_days(self) -> int | None:
        """Days for which periods can be read and are changed by late labels; None: for ever."""
        return {Level.DAY: None, Level.HOUR: 100}.get(self, 8)

    def holds(self, minute: int, now: float) -> bool:
        """Whether a count of `minute` is still kept at this level at `now` (seconds since 1970)."""
        return self.kept_days is None or minute >= now / 60 - self.kept_days * MINUTES_PER_DAY


SLACK_DAYS = 1
"""Days between a period's last use and its deletion, so that clocks may differ."""
WITNESS_DAYS = 3
"""Deletions trust the clock once predictions were counted on this many days near it."""


def believed(now: float, counted_days: Sequence[int]) -> float:
    """The reference time of deletions: `now` (seconds since 1970), capped shortly after the days with predictions.

    `counted_days` come newest first. Deletions lag by some days after a pause; a clock that jumps deletes nothing.
    """
    if len(counted_days) < WITNESS_DAYS:
        return 0.0
    return min(now, (counted_days[WITNESS_DAYS - 1] + WITNESS_DAYS) * MINUTES_PER_DAY * 60.0)


class PeriodRange(NamedTuple):
    """The periods [first, end) of one level."""

    level: Level
    first: int
    end: int


def cover_minutes(since: int, until: int, level: Level = Level.DAY) -> list[PeriodRange]:
    """The fewest periods that are exactly the minutes [since, until), in order of time; at most five ranges."""
    if since >= until:
        return []
    if level is Level.MINUTE:
        return [PeriodRange(level, since, until)]
    size, finer = level.minutes, Level(level - 1)
    first, end = -(-since // size), until // size
    if first >= end:
        return cover_minutes(since, until, finer)
    return [
        *cover_minutes(since, first * size, finer),
        PeriodRange(level, first, end),
        *cover_minutes(end * size, until, finer),
    ]
