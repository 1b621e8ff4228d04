"""Fairness figures from confusion counts, with intervals."""

from triggers.metrics.fairness_report import FairnessReport, evaluate_counts
from triggers.metrics.intervals import wilson
from triggers.metrics.paired import evaluate_pairs
from triggers.metrics.rates import Counts

__all__ = ["Counts", "FairnessReport", "evaluate_counts", "evaluate_pairs", "wilson"]
