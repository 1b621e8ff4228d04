"""Confusion counts of candidates, and the choice among them on validation."""

from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.counts import bare_logits, confusion_counts
from trainer.evaluation.run_result import Candidate, Outcome
from trainer.evaluation.selection import Judge, choose

__all__ = ["Candidate", "Comparison", "Judge", "Outcome", "bare_logits", "choose", "confusion_counts"]
