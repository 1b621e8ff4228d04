"""Confusion counts of candidates, and the choice among them on validation."""

from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.counts import bare_logits, confusion_counts
from trainer.evaluation.run_result import Candidate, TrainingResult
from trainer.evaluation.selection import SelectionCriterion

__all__ = [
    "Candidate",
    "Comparison",
    "SelectionCriterion",
    "TrainingResult",
    "bare_logits",
    "confusion_counts",
]
