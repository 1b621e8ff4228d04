"""Fairness over time: a window in steps, each with the figures that a chart needs, by the same code as the window's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from service.fairness.time_windows import MINUTES
from service.fairness.version_report import Cells, Document, Terms, counts_of
from service.ledger import Cell
from triggers.errors import InputError
from triggers.rollout.guard_rules import METRICS

STEPS: Mapping[str, int] = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "6h": 360, "1d": 1440}
"""Length in minutes."""
MOST_POINTS, USUAL_POINTS = 400, 120
RATES = ("selection_rate", "accuracy")


def steps_of(window: str) -> list[str]:
    """Names of the steps in which a window may be asked for, the finest first; for `all` that is days."""
    minutes = MINUTES[window]
    return ["1d"] if minutes is None else [name for name in STEPS if minutes <= STEPS[name] * MOST_POINTS]


def usual_step(window: str, allowed: list[str]) -> str:
    """The finest of the allowed steps that gives a chart few enough points; else the longest."""
    minutes = MINUTES[window] or 0
    return next((name for name in allowed if minutes <= STEPS[name] * USUAL_POINTS), allowed[-1])


def check_step(window: str, step: str) -> None:
    """Raises InputError for a step that is unknown, or too fine for the window."""
    if step not in STEPS:
        raise InputError("unknown_step", f"step is {step!r}; use one of {', '.join(STEPS)}.")
    if step not in steps_of(window):
        detail = f"The window {window} in steps of {step} is more than {MOST_POINTS} points; use a longer step."
        raise InputError("too_many_points", detail)


def by_step(cells: Cells) -> dict[int, dict[Cell, int]]:
    """The cells of each step, by its first minute, in order of time; steps without predictions are missing."""
    found: dict[int, dict[Cell, int]] = {}
    for cell in sorted(cells, key=lambda cell: cell.minute):
        found.setdefault(cell.minute, {})[cell] = cells[cell]
    return found


def point(cells: Cells, terms: Terms) -> Document:
    """One version in one step: overall rates, gaps, and the rates of each group, all with n and interval."""
    report = terms.report(counts_of(cells))
    return {
        "n": report.n,
        "labelled": report.labelled,
        **{rate: asdict(getattr(report.overall, rate)) for rate in RATES},
        "gaps": {name: asdict(report.gaps[name]) for name in METRICS},
        "groups": {
            name: {"n": group.n} | {rate: asdict(getattr(group, rate)) for rate in RATES}
            for name, group in report.groups.items()
        },
    }
