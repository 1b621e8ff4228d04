"""Live fairness statistics per version: a window's counts and every figure of triggers.metrics.fairness_report.

A window is a fixed number of whole minutes that ends with the current one. A prediction belongs to the minute in which
it was made; a label that comes later improves the figures of that minute. For a model whose triggers were made on
groups that overlap, a group "a + b" counts for both a and b.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from service.fairness.fairness_series import (
    SERIES_STEPS,
    allowed_steps,
    cells_by_step,
    check_step,
    default_step,
    remembered_point,
)
from service.fairness.pareto_front import pareto_front
from service.fairness.time_windows import WINDOW_MINUTES, TimeWindows, WindowReading
from service.fairness.version_report import Document, ReportParams, regroup, version_report
from service.ledger import Cell, Ledger
from service.ledger.events import series_name
from service.ledger.ledger import OTHER_GROUP
from service.ledger.process_liveness import Loss
from triggers.errors import InputError, NotFound
from triggers.metrics.overlapping_groups import UNDECLARED

GROUPINGS = ("version", "total")
BASELINE = "bare"


class LabelledModel(Protocol):
    """The labels of a model, and the one whose rate is the selection rate."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names in the order of the class indices."""
        ...

    @property
    def pos_label(self) -> int:
        """Index of the label whose rate is the selection rate."""
        ...


class FairnessMonitor:
    """Fairness reports of the served models by version and group. Waits for the store: not on the event loop."""

    def __init__(
        self,
        ledger: Ledger,
        models: Mapping[str, LabelledModel],
        *,
        confidence: float = 0.95,
        clock: Callable[[], float] = time.time,
        overlapping: Callable[[str], bool] = lambda model: False,
        alarms: Callable[[str, bool], list[Document]] = lambda model, exact: [],
        windows: TimeWindows | None = None,
    ) -> None:
        self._ledger, self._models, self._confidence = ledger, models, confidence
        self._overlapping, self._alarms = overlapping, alarms
        self.windows = windows or TimeWindows(ledger, clock=clock)

    def fairness_report(
        self,
        model: str,
        window: str = "1h",
        by: str = "version",
        attributes: Sequence[str] = (),
        *,
        exact: bool = True,
    ) -> Document:
        """The statistics of one model as JSON-ready values.

        Groups like `sex=female,age=old` are compared by `attributes` only, or else by all they name. Without `exact`
        every figure is computed from disclosed counts alone.
        Raises NotFound for an unknown model, InputError for an unknown `window` or `by`, StoreUnavailable when the
        ledger cannot be read.
        """
        served = self._served(model)
        _check("by", by, GROUPINGS)
        reading = self.windows.read(model, window, exact=exact)
        cells = reading.cells
        terms = ReportParams(len(served.labels), served.pos_label, self._confidence, self._overlapping(model))
        split = _split(regroup(cells, attributes, overlapping=terms.overlapping), by)
        hidden = regroup(self._shadows(model, window, exact=exact), attributes, overlapping=terms.overlapping)
        shadows = _split(hidden, "version")
        return self._envelope(model, served, window, reading, exact) | {
            "by": by,
            "versions": {name: version_report(part, terms) for name, part in split.items()},
            "shadows": {name: version_report(part, terms) for name, part in shadows.items()},
            "front": pareto_front(split, shadows, terms),
            "alarms": self._alarms(model, exact),
            "warnings": self._too_many_groups(model, cells),
        }

    def fairness_series(
        self,
        model: str,
        window: str = "24h",
        step: str | None = None,
        by: str = "version",
        attributes: Sequence[str] = (),
        *,
        exact: bool = True,
    ) -> Document:
        """A window in steps, oldest first, each with the figures of `series_point`.

        Without `step` the finest that suits a chart. Raises what `fairness_report` raises, and InputError for a step
        that is unknown, too fine for the window, or finer than the disclosed periods.
        """
        served = self._served(model)
        _check("by", by, GROUPINGS)
        _check("window", window, tuple(WINDOW_MINUTES))
        seen = [name for name in allowed_steps(window) if self.windows.allows_step(SERIES_STEPS[name], exact=exact)]
        step = step or default_step(window, seen or list(SERIES_STEPS))
        check_step(window, step)
        reading = self.windows.series(model, window, SERIES_STEPS[step], exact=exact)
        terms = ReportParams(len(served.labels), served.pos_label, self._confidence, self._overlapping(model))
        cells = regroup(reading.cells, attributes, overlapping=terms.overlapping)
        return self._envelope(model, served, window, reading, exact) | {
            "by": by,
            "step": step,
            "points": [
                {
                    "since": iso_timestamp(minute * 60),
                    "until": iso_timestamp((minute + SERIES_STEPS[step]) * 60),
                    "versions": {
                        name: remembered_point(tuple(each.items()), terms) for name, each in _split(part, by).items()
                    },
                }
                for minute, part in cells_by_step(cells).items()
            ],
        }

    def _envelope(
        self, model: str, served: LabelledModel, window: str, reading: WindowReading, exact: bool
    ) -> Document:
        """Metadata of a reading: model, window, freshness, disclosure and possible losses."""
        return {
            "model": model,
            "window": {
                "name": window,
                "since": iso_timestamp(reading.since * 60) if reading.since else None,
                "until": iso_timestamp(reading.until * 60),
            },
            "as_of": iso_timestamp(reading.as_of),
            "stale": reading.stale,
            "disclosure": self.windows.terms(exact=exact),
            "labels": list(served.labels),
            "pos_label": served.pos_label,
            "confidence": self._confidence,
            "possible_loss": _possible_loss(reading.losses),
        }

    def _shadows(self, model: str, window: str, *, exact: bool) -> Mapping[Cell, int]:
        """Counts of shadow versions, only where counts are exact: they are of the same people as `versions`."""
        if self.windows.terms(exact=exact) is not None:
            return {}
        return self.windows.read(series_name(model, "shadow"), window, exact=True).cells

    def _served(self, model: str) -> LabelledModel:
        if model not in self._models:
            raise NotFound(f"No model {model!r} is served here; there are {', '.join(sorted(self._models)) or 'none'}.")
        return self._models[model]

    def _too_many_groups(self, model: str, cells: Mapping[Cell, int]) -> list[Document]:
        """Warnings about predictions that were not counted under their own group."""
        found: list[Document] = []
        for code, group in (("too_many_groups", OTHER_GROUP), ("undeclared_groups", UNDECLARED)):
            n = sum(count for cell, count in cells.items() if cell.group == group)
            if n and (group == UNDECLARED or self._ledger.group_limit_reached(model)):
                found.append({"code": code, "group": group, "n": n})
        return found


def iso_timestamp(moment: float) -> str:
    """Seconds since 1970 as UTC text, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _split(cells: Mapping[Cell, int], by: str) -> dict[str, dict[Cell, int]]:
    """Cells per version, the bare model first; or all under "total"."""
    parts: dict[str, dict[Cell, int]] = {"total": {}} if by == "total" else {}
    for cell in sorted(cells, key=lambda cell: cell.version or 0):
        name = BASELINE if cell.version is None else f"v{cell.version}"
        parts.setdefault("total" if by == "total" else name, {})[cell] = cells[cell]
    return parts


def _possible_loss(losses: list[Loss]) -> Document | None:
    if not losses:
        return None
    return {
        "since": iso_timestamp(min(loss.since for loss in losses)),
        "until": iso_timestamp(max(loss.until for loss in losses)),
        "at_most_seconds": round(sum(loss.seconds for loss in losses), 3),
        "dropped": sum(loss.dropped for loss in losses),
        "reasons": sorted({loss.reason for loss in losses}),
        "times": len(losses),
    }


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"unknown_{name}", f"{name} is {value!r}; use one of {', '.join(allowed)}.")
