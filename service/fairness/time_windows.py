"""Time windows over the ledger's counts: exact and live for admins, disclosed for other readers.

A window ends with the current minute, or with the last period that was disclosed; one of a week begins with a whole
hour, a longer one with a whole day. While the store cannot be read, the last reading of the same window is returned,
marked stale.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.fairness.disclosure import Disclosure
from service.ledger import Cell, Ledger, Level
from service.ledger.process_liveness import Loss
from triggers.errors import InputError, StoreUnavailable

WINDOW_MINUTES: Mapping[str, int | None] = {
    "5m": 5, "15m": 15, "1h": 60, "6h": 360, "24h": 1440, "7d": 10_080, "30d": 43_200, "90d": 129_600, "all": None,
}  # fmt: skip

WINDOW_LEVELS = (Level.MINUTE, Level.HOUR, Level.DAY)


@dataclass(frozen=True)
class WindowReading:
    """The counts of the minutes [since, until); complete up to `as_of` (seconds since 1970), except for `losses`."""

    since: int
    until: int
    cells: Mapping[Cell, int]
    as_of: float
    stale: bool
    losses: list[Loss]


class TimeWindows:
    """Reader of a ledger's windows; without `disclosure` every reader sees exact counts. Waits for the store."""

    def __init__(
        self, ledger: Ledger, disclosure: Disclosure | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._ledger, self._disclosure, self._clock = ledger, disclosure, clock
        self._last: dict[tuple[str, str, bool], WindowReading] = {}

    @property
    def shortest(self) -> str:
        """The shortest window of an hour or more that every reader may see."""
        return next(
            name for name in ("1h", "24h") if self._disclosure is None or self._disclosure.allows(WINDOW_MINUTES[name])
        )

    def terms(self, *, exact: bool) -> dict[str, Any] | None:
        """Parameters of the disclosure; None where counts are exact and live."""
        return None if exact or self._disclosure is None else self._disclosure.terms

    def read(self, model: str, window: str, *, exact: bool) -> WindowReading:
        """One window. Raises InputError for an unknown one, StoreUnavailable without an earlier reading."""
        exact = exact or self._disclosure is None
        self._check(window, exact)
        return self._kept(
            (model, window, exact), lambda: self._exact(model, window) if exact else self._disclosed(model, window)
        )

    def series(self, model: str, window: str, step: int, *, exact: bool) -> WindowReading:
        """A window in steps of `step` minutes, from a whole step on: a cell's minute is the first of its step.

        Raises what `read` raises, and InputError for a step that is finer than the disclosed periods.
        """
        exact = exact or self._disclosure is None
        self._check(window, exact)
        if not self.allows_step(step, exact=exact):
            detail = f"Steps of {step} minutes are for the admin token only, as they are short; use longer ones."
            raise InputError("step_not_public", detail)
        return self._kept((model, f"{window}/{step}", exact), lambda: self._stepped(model, window, step, exact))

    def allows_step(self, step: int, *, exact: bool) -> bool:
        """Whether steps of this many minutes consist of whole disclosed periods, or counts are exact."""
        return exact or self._disclosure is None or self._disclosure.allows(step)

    def _kept(self, key: tuple[str, str, bool], read: Callable[[], WindowReading]) -> WindowReading:
        """A new reading, or the last one, marked stale, while the store cannot be read."""
        try:
            self._last[key] = read()
        except StoreUnavailable:
            if key not in self._last:
                raise
            last = self._last[key]
            return replace(last, stale=True, losses=last.losses + self._ledger.unwritten_loss())
        return self._last[key]

    def _check(self, window: str, exact: bool) -> None:
        if window not in WINDOW_MINUTES:
            raise InputError("unknown_window", f"window is {window!r}; use one of {', '.join(WINDOW_MINUTES)}.")
        if exact or self._disclosure is None or self._disclosure.allows(WINDOW_MINUTES[window]):
            return
        allowed = ", ".join(name for name, minutes in WINDOW_MINUTES.items() if self._disclosure.allows(minutes))
        raise InputError(
            "window_not_public", f"The window {window} is for the admin token only, as it is short; use {allowed}."
        )

    def _exact(self, model: str, window: str) -> WindowReading:
        now = self._clock()
        since, until = _bounds(window, int(now // 60) + 1)
        cells = self._ledger.counts(model, since, until)
        return self._reading(since, until, cells, now)

    def _disclosed(self, model: str, window: str) -> WindowReading:
        assert self._disclosure
        now = self._clock()
        until = self._disclosure.sealed_until(now)
        minutes = WINDOW_MINUTES[window]
        since = 0 if minutes is None else until - minutes
        return self._reading(since, until, self._disclosure.counts(model, since, until, now), now)

    def _stepped(self, model: str, window: str, step: int, exact: bool) -> WindowReading:
        now, minutes = self._clock(), WINDOW_MINUTES[window]
        hidden = None if exact else self._disclosure
        until = hidden.sealed_until(now) if hidden else int(now // 60) + 1
        since = 0 if minutes is None else (until - minutes) // step * step
        if hidden:
            fine = hidden.series(model, since, until, now)
        else:
            level = max((level for level in WINDOW_LEVELS if level.minutes <= step), key=lambda level: level.minutes)
            fine = self._ledger.series(model, level, since, -(-until // step) * step)
        cells = Counter[Cell]()
        for cell, n in fine.items():
            cells[cell._replace(minute=cell.minute // step * step)] += n
        return self._reading(since, until, {cell: n for cell, n in cells.items() if n > 0}, now)

    def _reading(self, since: int, until: int, cells: Mapping[Cell, int], now: float) -> WindowReading:
        as_of = self._ledger.as_of
        losses = self._ledger.possible_loss(since * 60, until * 60)
        return WindowReading(since, until, cells, as_of, now - as_of > 10 * self._ledger.flush_interval, losses)


def _bounds(window: str, until: int) -> tuple[int, int]:
    minutes = WINDOW_MINUTES[window]
    if minutes is None:
        return 0, until
    size = Level.DAY.minutes if minutes > 10_080 else Level.HOUR.minutes if minutes > 1440 else 1
    return (until - minutes) // size * size, until
