"""The card of a version: its file, its manifest, and its fairness figures, computed from its counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from triggers.artifact.manifest import Manifest
from triggers.rollout.rollout_history import Rollout, VersionInfo

if TYPE_CHECKING:
    from triggers.metrics import FairnessReport


@dataclass(frozen=True)
class Headline:
    """The three figures of a version in a list; None where a figure is undefined."""

    accuracy: float | None
    demographic_parity: float | None
    equalized_odds: float | None


def splits(manifest: Manifest) -> list[str]:
    """Names of the evaluated splits, as the manifest orders them."""
    return list(dict.fromkeys(row.split for row in manifest.evaluation))


def evaluate(manifest: Manifest, split: str, *, trigger: bool) -> FairnessReport | None:
    """Fairness of a split with the trigger or without it; None if it was not counted."""
    from triggers.metrics import evaluate_counts  # numpy: a command's help needs none

    counts = manifest.counts(split, trigger=trigger)
    if not counts:
        return None
    return evaluate_counts(
        counts, pos_label=manifest.pos_label, labels=len(manifest.labels), overlapping=manifest.groups_overlap
    )


def headline_figures(manifest: Manifest, *, trigger: bool, split: str = "val") -> Headline:
    """Accuracy, demographic parity difference and equalized odds difference of a split."""
    report = evaluate(manifest, split, trigger=trigger)
    if report is None:
        return Headline(None, None, None)
    dp, eo = report.demographic_parity_difference.value, report.equalized_odds_difference.value
    return Headline(report.overall.accuracy.value, dp, eo)


def card(info: VersionInfo, rollout: Rollout) -> dict[str, Any]:
    """Everything known about a version, JSON-ready: its file, whether it serves, its manifest and fairness by split."""
    manifest = info.manifest
    evaluation = {
        split: {
            name: report.to_dict()
            for name, trigger in (("bare", False), ("trigger", True))
            if (report := evaluate(manifest, split, trigger=trigger))
        }
        for split in splits(manifest)
    }
    return {
        "model": info.model,
        "version": info.version,
        "champion": rollout.champion == info.version,
        "digest": info.digest,
        "file_sha256": info.file_sha256,
        "bytes": info.bytes,
        "created_at": info.created_at,
        "created_by": info.created_by,
        "manifest": manifest.model_dump(mode="json", exclude={"evaluation"}),
        "evaluation": evaluation,
    }
