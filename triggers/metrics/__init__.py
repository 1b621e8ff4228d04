"""Fairness figures from confusion counts, with intervals; numpy is imported where one of the names is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triggers.metrics.fairness_report import FairnessReport, evaluate_counts
    from triggers.metrics.intervals import wilson
    from triggers.metrics.paired import evaluate_pairs
    from triggers.metrics.rates import Counts

__all__ = ["Counts", "FairnessReport", "evaluate_counts", "evaluate_pairs", "wilson"]
_MODULES = {
    "Counts": "rates",
    "FairnessReport": "fairness_report",
    "evaluate_counts": "fairness_report",
    "evaluate_pairs": "paired",
    "wilson": "intervals",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
