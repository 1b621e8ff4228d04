"""Minutes, hours and days since 1970 (UTC): the levels at which counts are kept, and which make up a window.

Every change of a count goes to all three levels in one transaction, so an hour is always the sum of its minutes and a
day the sum of its hours, late labels included. Minutes and hours that no window asks for any more are thrown away; a
label that comes later than that changes only the levels that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

MINUTES_PER_DAY = 1440
LABEL_DAYS = 400
"""Feedback is accepted so long: what is known of labelled predictions is kept a little longer."""
RELEASE_DAYS = 400
"""What was disclosed is kept so long."""


class Level(IntEnum):
    """How coarse a count is; ARRIVAL counts first labels by the minute in which they came."""

    MINUTE = 0
    HOUR = 1
    DAY = 2
    ARRIVAL = 3

    @property
    def minutes(self) -> int:
        """Length of one period."""
        return {Level.HOUR: 60, Level.DAY: MINUTES_PER_DAY}.get(self, 1)

    @property
    def kept_days(self) -> int | None:
        """How long its periods can be asked for and are changed by late labels; None: for ever."""
        return {Level.DAY: None, Level.HOUR: 100}.get(self, 8)

    def holds(self, minute: int, now: float) -> bool:
        """Whether a count of `minute` is still kept at this level at `now` (seconds since 1970)."""
        return self.kept_days is None or minute >= now / 60 - self.kept_days * MINUTES_PER_DAY


SLACK_DAYS = 1
"""Periods are deleted this much later than they are last used, so that clocks may differ."""
WITNESS_DAYS = 3
"""A clock is believed, where something is deleted by it, once predictions were counted on so many days near it."""


def believed(now: float, counted_days: Sequence[int]) -> float:
    """`now`, but at most a moment shortly after the days on which predictions were counted, given newest first.

    Deleting lags behind by some days after a service stood still; a clock that jumps deletes nothing.
    """
    if len(counted_days) < WITNESS_DAYS:
        return 0.0
    return min(now, (counted_days[WITNESS_DAYS - 1] + WITNESS_DAYS) * MINUTES_PER_DAY * 60.0)


class Span(NamedTuple):
    """The periods [first, end) of one level."""

    level: Level
    first: int
    end: int


def cover(since: int, until: int, level: Level = Level.DAY) -> list[Span]:
    """The fewest periods that are exactly the minutes [since, until), in order of time; at most five spans."""
    if since >= until:
        return []
    if level is Level.MINUTE:
        return [Span(level, since, until)]
    size, finer = level.minutes, Level(level - 1)
    first, end = -(-since // size), until // size
    if first >= end:
        return cover(since, until, finer)
    return [*cover(since, first * size, finer), Span(level, first, end), *cover(end * size, until, finer)]
