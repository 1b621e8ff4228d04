"""Live fairness statistics, computed from the ledger's counts."""

from service.fairness.disclosure import Disclosure, DisclosureRule
from service.fairness.fairness_series import SERIES_STEPS
from service.fairness.monitor import GROUPINGS, FairnessMonitor
from service.fairness.time_windows import WINDOW_MINUTES, TimeWindows

__all__ = [
    "GROUPINGS",
    "SERIES_STEPS",
    "WINDOW_MINUTES",
    "Disclosure",
    "DisclosureRule",
    "FairnessMonitor",
    "TimeWindows",
]
