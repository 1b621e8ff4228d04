"""What a run leaves for people and scripts: metrics.json and, where matplotlib is installed, pictures.

Every figure is computed from the confusion counts that the artifacts carry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trainer.config import RunConfig, to_dict
from trainer.outcome import Counts, Outcome
from trainer.publish import Published
from triggers.classifier import FrozenClassifier
from triggers.durable import write_whole
from triggers.fairness import FairnessReport, evaluate_counts
from triggers.image import ImageTrigger


def write_report(
    folder: Path, config: RunConfig, classifier: FrozenClassifier, outcome: Outcome, published: Sequence[Published]
) -> list[Path]:
    """Write metrics.json, and front.png and triggers.png if matplotlib is installed. Returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics = folder / "metrics.json"
    text = json.dumps(summary(config, classifier, outcome, published), indent=2, ensure_ascii=False)
    write_whole(metrics, text.encode() + b"\n")
    return [metrics, *(_draw(folder, config, classifier, outcome) if find_spec("matplotlib") else [])]


def summary(
    config: RunConfig, classifier: FrozenClassifier, outcome: Outcome, published: Sequence[Published]
) -> dict[str, Any]:
    """The run as JSON values: fairness reports per split without a trigger and with each candidate's."""
    versions = {place.strength: {"version": place.version, "digest": place.digest} for place in published}
    return {
        "model": classifier.name,
        "model_fingerprint": classifier.fingerprint,
        "labels": classifier.labels,
        "pos_label": classifier.pos_label,
        "steps": outcome.steps,
        "seconds": round(outcome.seconds, 3),
        "device": outcome.device,
        "notes": outcome.notes,
        "bare": _reports(config, classifier, outcome.bare),
        "best": None if outcome.best is None else outcome.candidates[outcome.best].strength,
        "front": [outcome.candidates[at].strength for at in outcome.front],
        "candidates": [
            {
                "strength": candidate.strength,
                "step": candidate.step,
                "published": versions.get(candidate.strength),
                "words": None if isinstance(candidate.trigger, ImageTrigger) else candidate.trigger.words,
                "splits": _reports(config, classifier, candidate.counts),
            }
            for candidate in outcome.candidates
        ],
        "config": to_dict(config),
    }


def report_of(config: RunConfig, classifier: FrozenClassifier, counts: Counts) -> FairnessReport:
    """All figures of one table of counts."""
    overlapping = config.data.groups_overlap
    return evaluate_counts(
        counts, pos_label=classifier.pos_label, labels=len(classifier.labels), overlapping=overlapping
    )


def _reports(config: RunConfig, classifier: FrozenClassifier, splits: Mapping[str, Counts]) -> dict[str, Any]:
    return {split: report_of(config, classifier, counts).to_dict() for split, counts in splits.items()}


def _draw(folder: Path, config: RunConfig, classifier: FrozenClassifier, outcome: Outcome) -> list[Path]:
    from trainer import figures

    named = [(f"{candidate.strength:g}", candidate) for candidate in outcome.candidates]
    points = [
        figures.Point(name, report_of(config, classifier, candidate.counts["test"]), best=at == outcome.best)
        for at, (name, candidate) in enumerate(named)
    ]
    bare = report_of(config, classifier, outcome.bare["test"])
    front, title = folder / "front.png", f"{classifier.name}: test split"
    figures.draw_front(front, title, config.objective.criterion, bare, points)
    pictures = [(f"strength {name}", one.trigger) for name, one in named if isinstance(one.trigger, ImageTrigger)]
    if not pictures:
        return [front]
    figures.draw_triggers(folder / "triggers.png", pictures)
    return [front, folder / "triggers.png"]
