"""Live fairness statistics, read from the ledger"s counts."""

from service.fairness.disclosure import Disclosure, Rule
from service.fairness.fairness_series import STEPS
from service.fairness.monitor import BY, Monitor
from service.fairness.time_windows import MINUTES, Windows

__all__ = ["BY", "MINUTES", "STEPS", "Disclosure", "Monitor", "Rule", "Windows"]
