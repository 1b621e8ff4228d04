"""Time series of fairness figures: a window in steps, computed by the same code as the whole window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache

from service.fairness.time_windows import WINDOW_MINUTES
from service.fairness.version_report import CellCounts, Document, ReportParams, confusion_counts_of
from service.ledger import Cell
from triggers.errors import InputError
from triggers.rollout.guard_rules import METRICS

SERIES_STEPS: Mapping[str, int] = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "6h": 360, "1d": 1440}
"""Lengths of steps in minutes, by name."""
MAX_POINTS, DEFAULT_POINTS = 400, 120
REMEMBERED_POINTS = 2048
SERIES_RATES = ("selection_rate", "accuracy")


def allowed_steps(window: str) -> list[str]:
    """Names of the steps that a window may be split into, the finest first; for `all` only days."""
    minutes = WINDOW_MINUTES[window]
    return ["1d"] if minutes is None else [name for name in SERIES_STEPS if minutes <= SERIES_STEPS[name] * MAX_POINTS]


def default_step(window: str, allowed: list[str]) -> str:
    """The finest allowed step with at most DEFAULT_POINTS points; else the longest."""
    minutes = WINDOW_MINUTES[window] or 0
    return next((name for name in allowed if minutes <= SERIES_STEPS[name] * DEFAULT_POINTS), allowed[-1])


def check_step(window: str, step: str) -> None:
    """Raises InputError for a step that is unknown, or too fine for the window."""
    if step not in SERIES_STEPS:
        raise InputError("unknown_step", f"step is {step!r}; use one of {', '.join(SERIES_STEPS)}.")
    if step not in allowed_steps(window):
        detail = f"The window {window} in steps of {step} is more than {MAX_POINTS} points; use a longer step."
        raise InputError("too_many_points", detail)


def cells_by_step(cells: CellCounts) -> dict[int, dict[Cell, int]]:
    """The cells of each step, by its first minute, in order of time; steps without predictions are missing."""
    found: dict[int, dict[Cell, int]] = {}
    for cell in sorted(cells, key=lambda cell: cell.minute):
        found.setdefault(cell.minute, {})[cell] = cells[cell]
    return found


@lru_cache(maxsize=REMEMBERED_POINTS)
def remembered_point(cells: tuple[tuple[Cell, int], ...], terms: ReportParams) -> Document:
    """A `series_point` that is not to be changed: nearly all steps of a window are as when it was read last."""
    return series_point(dict(cells), terms)


def series_point(cells: CellCounts, terms: ReportParams) -> Document:
    """One version in one step: overall rates, gaps, and the rates of each group, all with n and interval."""
    report = terms.report(confusion_counts_of(cells))
    return {
        "n": report.n,
        "labelled": report.labelled,
        **{rate: asdict(getattr(report.overall, rate)) for rate in SERIES_RATES},
        "gaps": {name: asdict(report.gaps[name]) for name in METRICS},
        "groups": {
            name: {"n": group.n} | {rate: asdict(getattr(group, rate)) for rate in SERIES_RATES}
            for name, group in report.groups.items()
        },
    }
