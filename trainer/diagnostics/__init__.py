"""Diagnostics of a trigger: paired effects, group probes, attributions."""

from trainer.diagnostics.attributions import Explained, ExplainedImages, explain, trigger_shares
from trainer.diagnostics.diagnosis import ComparedGroups, Diagnosis, diagnose, nearest_words
from trainer.diagnostics.group_probe import captured_features, network_outputs
from trainer.diagnostics.saliency import TextSaliency

__all__ = [
    "ComparedGroups",
    "Diagnosis",
    "Explained",
    "ExplainedImages",
    "TextSaliency",
    "captured_features",
    "diagnose",
    "explain",
    "nearest_words",
    "network_outputs",
    "trigger_shares",
]
