"""Live fairness statistics: the counts of a window, per version, with every figure of `triggers.fairness`.

A window is a fixed number of whole minutes that ends with the current one. A prediction belongs to the minute in which
it was made; a label that comes later improves the figures of that minute. For a model whose triggers were made on
groups that overlap, a group "a + b" counts for both a and b.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from service.event import Cell, series_of
from service.front import front
from service.ledger import OTHER, Ledger
from service.runs import Loss
from service.timeline import STEPS, by_step, check_step, point, steps_of, usual_step
from service.version_report import Document, Terms, compared_by, version_report
from service.windows import MINUTES, Reading, Windows
from triggers.errors import InputError, NotFound
from triggers.identities import UNDECLARED

BY = ("version", "total")
BARE = "bare"


class Labelled(Protocol):
    """What must be known of a model: the names of its labels and which one is the selected one."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names in the order of the class indices."""
        ...

    @property
    def pos_label(self) -> int:
        """Index of the label whose rate is the selection rate."""
        ...


class Monitor:
    """Answers what the predictions of a window looked like, group by group."""

    def __init__(
        self,
        ledger: Ledger,
        models: Mapping[str, Labelled],
        *,
        confidence: float = 0.95,
        clock: Callable[[], float] = time.time,
        overlapping: Callable[[str], bool] = lambda model: False,
        alarms: Callable[[str, bool], list[Document]] = lambda model, exact: [],
        windows: Windows | None = None,
    ) -> None:
        self._ledger, self._models, self._confidence = ledger, models, confidence
        self._overlapping, self._alarms = overlapping, alarms
        self.windows = windows or Windows(ledger, clock=clock)

    def fairness(
        self,
        model: str,
        window: str = "1h",
        by: str = "version",
        attributes: Sequence[str] = (),
        *,
        exact: bool = True,
    ) -> Document:
        """The statistics of one model as JSON-ready values; waits for the ledger, so call it from a thread.

        Groups like `sex=female,age=old` are compared by `attributes` only, or else by all they name. Not `exact` is
        what everybody may see: every figure is then made from disclosed counts alone.
        Raises NotFound for an unknown model, InputError for an unknown `window` or `by`, StoreUnavailable when the
        ledger cannot be read.
        """
        served = self._served(model)
        _check("by", by, BY)
        reading = self.windows.read(model, window, exact=exact)
        cells = reading.cells
        terms = Terms(len(served.labels), served.pos_label, self._confidence, self._overlapping(model))
        split = _split(compared_by(cells, attributes, overlapping=terms.overlapping), by)
        hidden = compared_by(self._shadows(model, window, exact=exact), attributes, overlapping=terms.overlapping)
        shadows = _split(hidden, "version")
        return self._about(model, served, window, reading, exact) | {
            "by": by,
            "versions": {name: version_report(part, terms) for name, part in split.items()},
            "shadows": {name: version_report(part, terms) for name, part in shadows.items()},
            "front": front(split, shadows, terms),
            "alarms": self._alarms(model, exact),
            "warnings": self._crowd(model, cells),
        }

    def series(
        self,
        model: str,
        window: str = "24h",
        step: str | None = None,
        by: str = "version",
        attributes: Sequence[str] = (),
        *,
        exact: bool = True,
    ) -> Document:
        """A window in steps, oldest first: what `fairness` says of the whole, for each; see `timeline`.

        Without `step` the finest that suits a chart. Raises what `fairness` raises, also for an unknown step, one that
        is too fine for the window, or finer than what may be seen.
        """
        served = self._served(model)
        _check("by", by, BY)
        _check("window", window, tuple(MINUTES))
        seen = [name for name in steps_of(window) if self.windows.allows_step(STEPS[name], exact=exact)]
        step = step or usual_step(window, seen or list(STEPS))
        check_step(window, step)
        reading = self.windows.series(model, window, STEPS[step], exact=exact)
        terms = Terms(len(served.labels), served.pos_label, self._confidence, self._overlapping(model))
        cells = compared_by(reading.cells, attributes, overlapping=terms.overlapping)
        return self._about(model, served, window, reading, exact) | {
            "by": by,
            "step": step,
            "points": [
                {
                    "since": iso(minute * 60),
                    "until": iso((minute + STEPS[step]) * 60),
                    "versions": {name: point(each, terms) for name, each in _split(part, by).items()},
                }
                for minute, part in by_step(cells).items()
            ],
        }

    def _about(self, model: str, served: Labelled, window: str, reading: Reading, exact: bool) -> Document:
        """What is said of every reading: of which model and time, how fresh, and what may be missing."""
        return {
            "model": model,
            "window": {
                "name": window,
                "since": iso(reading.since * 60) if reading.since else None,
                "until": iso(reading.until * 60),
            },
            "as_of": iso(reading.as_of),
            "stale": reading.stale,
            "disclosure": self.windows.terms(exact=exact),
            "labels": list(served.labels),
            "pos_label": served.pos_label,
            "confidence": self._confidence,
            "possible_loss": _possible_loss(reading.losses),
        }

    def _shadows(self, model: str, window: str, *, exact: bool) -> Mapping[Cell, int]:
        """What shadow versions would have said, where counts are exact: they are the same people as in `versions`."""
        if self.windows.terms(exact=exact) is not None:
            return {}
        return self.windows.read(series_of(model, "shadow"), window, exact=True).cells

    def _served(self, model: str) -> Labelled:
        if model not in self._models:
            raise NotFound(f"No model {model!r} is served here; there are {', '.join(sorted(self._models)) or 'none'}.")
        return self._models[model]

    def _crowd(self, model: str, cells: Mapping[Cell, int]) -> list[Document]:
        """What was not counted under its own group."""
        found: list[Document] = []
        for code, group in (("too_many_groups", OTHER), ("undeclared_groups", UNDECLARED)):
            n = sum(count for cell, count in cells.items() if cell.group == group)
            if n and (group == UNDECLARED or self._ledger.crowded(model)):
                found.append({"code": code, "group": group, "n": n})
        return found


def iso(moment: float) -> str:
    """Seconds since 1970 as UTC text, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _split(cells: Mapping[Cell, int], by: str) -> dict[str, dict[Cell, int]]:
    """Cells per version, the bare model first; or all under "total"."""
    parts: dict[str, dict[Cell, int]] = {"total": {}} if by == "total" else {}
    for cell in sorted(cells, key=lambda cell: cell.version or 0):
        name = BARE if cell.version is None else f"v{cell.version}"
        parts.setdefault("total" if by == "total" else name, {})[cell] = cells[cell]
    return parts


def _possible_loss(losses: list[Loss]) -> Document | None:
    if not losses:
        return None
    return {
        "since": iso(min(loss.since for loss in losses)),
        "until": iso(max(loss.until for loss in losses)),
        "at_most_seconds": round(sum(loss.seconds for loss in losses), 3),
        "dropped": sum(loss.dropped for loss in losses),
        "reasons": sorted({loss.reason for loss in losses}),
        "times": len(losses),
    }


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"unknown_{name}", f"{name} is {value!r}; use one of {', '.join(allowed)}.")
