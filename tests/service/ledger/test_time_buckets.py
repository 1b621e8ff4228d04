"""A window is covered by whole periods: every minute once, and few of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.ledger.time_buckets import Level, cover_minutes

DAY = 29_800_000 // 1440


@given(st.integers(DAY * 1440, (DAY + 4) * 1440), st.integers(0, 6 * 1440))
def test_a_cover_is_every_minute_once(since: int, length: int) -> None:
    spans = cover_minutes(since, since + length)
    minutes = [
        minute for span in spans for minute in range(span.first * span.level.minutes, span.end * span.level.minutes)
    ]
    assert minutes == list(range(since, since + length))
    assert len(spans) <= 5


def test_a_quarter_is_few_periods() -> None:
    spans = cover_minutes(DAY * 1440, (DAY + 90) * 1440 + 607)
    assert [(span.level, span.end - span.first) for span in spans] == [
        (Level.DAY, 90), (Level.HOUR, 10), (Level.MINUTE, 7),
    ]  # fmt: skip


def test_old_minutes_are_no_longer_held_but_days_are() -> None:
    now = DAY * 86400.0
    week, year = DAY * 1440 - 7 * 1440, DAY * 1440 - 365 * 1440
    assert [level.holds(week, now) for level in Level] == [True] * 4
    assert [level.holds(year, now) for level in Level] == [False, False, True, False]
