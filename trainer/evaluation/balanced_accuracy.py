"""Balanced accuracy, the mean of the labels' recalls, from confusion counts."""

from __future__ import annotations

import numpy as np

from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import recalls
from triggers.metrics import wilson
from triggers.metrics.intervals import critical
from triggers.metrics.rates import NO_LABELS, Estimate


def estimate_balanced_accuracy(counts: ConfusionCounts, confidence: float = 0.95) -> Estimate:
    """Mean recall of the labels that have rows, with its interval.

    The labels' rows are different rows, so the distances from the recalls to their Wilson limits add up as the roots of
    sums of squares do (MOVER; Zou and Donner, Statistics in Medicine 2008).
    """
    found = _by_label(counts)
    if not found:
        return Estimate(None, None, None, 0, NO_LABELS)
    hits, rows = np.array(found).T
    low, high = wilson(hits, rows, critical(confidence))
    shares = hits / rows
    below, above = np.sqrt(((shares - low) ** 2).sum()), np.sqrt(((high - shares) ** 2).sum())
    value, labels = float(shares.mean()), len(found)
    return Estimate(value, value - float(below) / labels, value + float(above) / labels, int(rows.sum()))


def mean_recall(counts: ConfusionCounts) -> float:
    """The value alone, of counts that have rows."""
    found = _by_label(counts)
    return sum(hits / rows for hits, rows in found) / len(found)


def _by_label(counts: ConfusionCounts) -> list[tuple[int, int]]:
    """(hits, rows) of every label that has rows."""
    return [pair for (_, group), pair in recalls(counts).items() if group is None]
