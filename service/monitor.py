"""Live fairness statistics: the counts of a window, per version, with every figure of `triggers.fairness`.

A window is a fixed number of whole minutes that ends with the current one. A prediction belongs to the minute in which
it was made; a label that comes later improves the figures of that minute. For a model whose triggers were made on
groups that overlap, a group "a + b" counts for both a and b.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from service.event import Cell, series_of
from service.ledger import OTHER, Ledger
from service.runs import Loss
from service.windows import Windows
from triggers.errors import InputError, NotFound
from triggers.fairness import NO_GROUP, UNKNOWN, FairnessReport, evaluate_counts
from triggers.identities import groups_of

BY = ("version", "total")
BARE = "bare"
LOW_SUPPORT = 30
RATES = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate")
Document = dict[str, Any]


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
        windows: Windows | None = None,
    ) -> None:
        self._ledger, self._models, self._confidence = ledger, models, confidence
        self._overlapping = overlapping
        self.windows = windows or Windows(ledger, clock=clock)

    def fairness(self, model: str, window: str = "1h", by: str = "version", *, exact: bool = True) -> Document:
        """The statistics of one model as JSON-ready values; waits for the ledger, so call it from a thread.

        Not `exact` is what everybody may see: every figure is then made from disclosed counts alone.
        Raises NotFound for an unknown model, InputError for an unknown `window` or `by`, StoreUnavailable when the
        ledger cannot be read.
        """
        served = self._served(model)
        _check("by", by, BY)
        reading = self.windows.read(model, window, exact=exact)
        cells = reading.cells
        split, overlapping = _split(cells, by), self._overlapping(model)
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
            "by": by,
            "labels": list(served.labels),
            "pos_label": served.pos_label,
            "confidence": self._confidence,
            "versions": {name: self._version(part, served, overlapping) for name, part in split.items()},
            "shadows": self._shadows(model, window, served, overlapping) if exact else {},
            "possible_loss": _possible_loss(reading.losses),
            "warnings": self._crowd(model, cells),
        }

    def _shadows(self, model: str, window: str, served: Labelled, overlapping: bool) -> Document:
        """What shadow versions would have said; for operators only: they are the same people as in `versions`."""
        cells = self.windows.read(series_of(model, "shadow"), window, exact=True).cells
        return {name: self._version(part, served, overlapping) for name, part in _split(cells, "version").items()}

    def _served(self, model: str) -> Labelled:
        if model not in self._models:
            raise NotFound(f"No model {model!r} is served here; there are {', '.join(sorted(self._models)) or 'none'}.")
        return self._models[model]

    def _version(self, cells: Mapping[Cell, int], served: Labelled, overlapping: bool) -> Document:
        counts = Counter[tuple[str, int | None, int]]()
        for cell, n in cells.items():
            counts[cell.group, cell.label, cell.prediction] += n
        report = evaluate_counts(
            counts,
            pos_label=served.pos_label,
            labels=len(served.labels),
            confidence=self._confidence,
            overlapping=overlapping,
        )
        listed = sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] is None, item[0][1] or 0, item[0][2]))
        return report.to_dict() | {
            "counts": [{"group": g, "label": y, "prediction": h, "n": n} for (g, y, h), n in listed],
            "twins": twins(cells, overlapping=overlapping),
            "warnings": low_support(report),
        }

    def _crowd(self, model: str, cells: Mapping[Cell, int]) -> list[Document]:
        n = sum(count for cell, count in cells.items() if cell.group == OTHER)
        if not (n and self._ledger.crowded(model)):
            return []
        return [{"code": "too_many_groups", "group": OTHER, "n": n}]


def twins(cells: Mapping[Cell, int], *, overlapping: bool = False) -> Document | None:
    """How the trigger changed predictions, from those made twice: with it, and bare. None if there are none."""
    paired = {cell: n for cell, n in cells.items() if cell.bare is not None}
    if not paired:
        return None
    groups: dict[str, Counter[tuple[int, int]]] = {}
    for cell, n in paired.items():
        for group in groups_of(cell.group) if overlapping else (cell.group,):
            groups.setdefault(group, Counter())[cell.bare or 0, cell.prediction] += n
    return {
        "n": sum(paired.values()),
        "flipped": sum(n for cell, n in paired.items() if cell.bare != cell.prediction),
        "groups": {group: _flips(groups[group]) for group in sorted(groups)},
    }


def _flips(pairs: Counter[tuple[int, int]]) -> Document:
    flips = [{"bare": a, "with_trigger": b, "n": n} for (a, b), n in sorted(pairs.items()) if a != b]
    return {"n": pairs.total(), "flipped": sum(n for (a, b), n in pairs.items() if a != b), "flips": flips}


def low_support(report: FairnessReport) -> list[Document]:
    """Rates of known groups that stand on fewer than 30 predictions."""
    no_groups = (UNKNOWN, NO_GROUP) if report.overlapping else (UNKNOWN,)
    return [
        {"code": "low_support", "metric": rate, "group": name, "n": n}
        for name, group in report.groups.items()
        for rate in RATES
        if name not in no_groups and 0 < (n := getattr(group, rate).n) < LOW_SUPPORT
    ]


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
