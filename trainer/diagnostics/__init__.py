"""Diagnostics of a trigger: paired effects, group probes, attributions."""

from trainer.diagnostics.attributions import Explained, ExplainedImages, explain, trigger_shares
from trainer.diagnostics.diagnosis import ComparedGroups, Diagnosis, diagnose, nearest_words
from trainer.diagnostics.saliency import TextSaliency

__all__ = [
    "ComparedGroups",
    "Diagnosis",
    "Explained",
    "ExplainedImages",
    "TextSaliency",
    "diagnose",
    "explain",
    "nearest_words",
    "trigger_shares",
]
