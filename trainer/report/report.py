"""The files of a run's report.

metrics.json     every figure, each computed from the confusion counts that the artifacts carry
model-card.md    the card of the trigger that is looked at: the recommended one, else the nearest to it
report.html      one self-contained page with all of it and the pictures, which also lie beside it as PNG files;
                 these need `pip install 'fairtrigger[report]'`
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch

from trainer.config import RunConfig, to_dict
from trainer.data import Splits
from trainer.diagnostics import ComparedGroups, Diagnosis, diagnose, nearest_words
from trainer.evaluation import Candidate, Comparison, TrainingResult
from trainer.evaluation.balanced_accuracy import estimate_balanced_accuracy
from trainer.evaluation.comparison_record import counts_as_json
from trainer.evaluation.counts import ConfusionCounts, accuracy
from trainer.evaluation.recommendation import ValidationJudge
from trainer.progress import Progress
from trainer.publish import Published, code_version
from trainer.report.cost import Stopwatch, cost_record
from trainer.report.model_card import model_card
from trainer.report.run_summary import verdict
from triggers.artifact.artifact import TriggerArtifact
from triggers.metrics import FairnessReport, evaluate_counts
from triggers.model import FrozenClassifier
from triggers.rollout.rollout_history import timestamp
from triggers.storage import write_atomically
from triggers.trigger import ImageTrigger, TextTrigger

EXTRA_PACKAGES = ("captum", "jinja2", "matplotlib")
"""Packages of the page and the pictures: the extra `report`."""


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """Inputs of a report. Without `splits` there is no diagnosis of the trigger."""

    config: RunConfig
    classifier: FrozenClassifier
    result: TrainingResult
    artifacts: Sequence[TriggerArtifact]
    published: Sequence[Published]
    splits: Splits | None = None


def write_report(folder: Path, inputs: ReportInputs, watch: Stopwatch, progress: Progress) -> list[Path]:
    """Write everything and return what was written. Says so where a package for the page is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    config, result = inputs.config, inputs.result
    shown = result.candidates[shown_at(result)]
    found = summary(inputs)
    with watch.phase("diagnose"):
        diagnosis = _diagnose(inputs, shown, found)
    found |= {} if diagnosis is None else diagnosis.record
    found["verdict"] = verdict(found)
    found["cost"] = cost_record(config, result, watch, inputs.classifier.device)
    missing = [name for name in EXTRA_PACKAGES if not find_spec(name)]
    if config.report.enabled and missing:
        wanted = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        progress.note(f"No report.html and no pictures: {wanted}. Run: pip install 'fairtrigger[report]'")
    page = [] if missing or not config.report.enabled else _page(folder, inputs, found, diagnosis)
    metrics, card = folder / "metrics.json", folder / "model-card.md"
    write_atomically(metrics, json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n")
    write_atomically(card, model_card(found).encode())
    return [metrics, card, *page]


def summary(inputs: ReportInputs) -> dict[str, Any]:
    """The run as JSON values: fairness reports and counts per split, without a trigger and with each candidate's."""
    config, classifier, result = inputs.config, inputs.classifier, inputs.result
    return {
        "model": classifier.name,
        "modality": classifier.modality,
        "model_fingerprint": classifier.fingerprint,
        "labels": list(classifier.labels),
        "pos_label": classifier.pos_label,
        "head": classifier.spec.head.model_dump(mode="json"),
        "threshold": classifier.spec.threshold,
        "origin": classifier.spec.origin,
        "comparison": classifier.spec.comparison and classifier.spec.comparison.model_dump(mode="json"),
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "device": result.device,
        "notes": list(result.notes),
        "bare": _reports(config, classifier, result.bare),
        "bare_counts": _cells(result.bare),
        "bare_balanced_accuracy": _balanced_accuracies(result.bare),
        "best": None if result.best is None else result.candidates[result.best].strength,
        "shown": result.candidates[shown_at(result)].strength,
        "front": [result.candidates[at].strength for at in result.front],
        "candidates": _candidates(inputs),
        "rival": result.rival,
        "alternatives": asdict(result.alternatives),
        "queries": result.queries,
        "strength_search": result.search and asdict(result.search),
        "comparisons": [_comparison(config, classifier, one, result.judge) for one in result.comparisons],
        "data_counts": {
            split: [[*cell, n] for cell, n in counted.items()] for split, counted in result.data_counts.items()
        },
        "config": to_dict(config),
        "provenance": {
            "created_at": timestamp(datetime.now(UTC)),
            "created_by": config.publish.actor,
            "code_version": code_version(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def shown_at(result: TrainingResult) -> int:
    """Index of the candidate shown in detail: the recommended one, else the front's fairest, else the nearest miss."""
    if result.best is not None:
        return result.best
    if result.front:
        return result.front[-1]
    judge, ones = result.judge, result.candidates
    if judge is None:
        return max(range(len(ones)), key=lambda at: accuracy(ones[at].counts["val"]))
    return min(range(len(ones)), key=lambda at: judge.criterion.rank(judge.score(ones[at].val)))


def report_of(config: RunConfig, classifier: FrozenClassifier, counts: ConfusionCounts) -> FairnessReport:
    """The fairness report of one table of counts."""
    overlapping = config.data.groups_overlap
    return evaluate_counts(
        counts, pos_label=classifier.pos_label, labels=len(classifier.labels), overlapping=overlapping
    )


def _candidates(inputs: ReportInputs) -> list[dict[str, Any]]:
    versions = {place.strength: {"version": place.version, "digest": place.digest} for place in inputs.published}
    judge, steps = inputs.result.judge, inputs.result.steps
    return [
        {
            "strength": candidate.strength,
            "step": candidate.step,
            "digest": artifact.digest,
            "published": versions.get(candidate.strength),
            "words": None if isinstance(candidate.trigger, ImageTrigger) else candidate.trigger.words,
            "selection": candidate.selection.model_dump(mode="json"),
            "p_value": judge.p_value(candidate.val) if judge and candidate.step == steps else None,
            "splits": _reports(inputs.config, inputs.classifier, candidate.counts),
            "balanced_accuracy": _balanced_accuracies(candidate.counts),
            "counts": _cells(candidate.counts),
        }
        for candidate, artifact in zip(inputs.result.candidates, inputs.artifacts, strict=True)
    ]


def _reports(config: RunConfig, classifier: FrozenClassifier, splits: Mapping[str, ConfusionCounts]) -> dict[str, Any]:
    return {split: report_of(config, classifier, counts).to_dict() for split, counts in splits.items()}


def _balanced_accuracies(splits: Mapping[str, ConfusionCounts]) -> dict[str, Any]:
    return {split: asdict(estimate_balanced_accuracy(counts)) for split, counts in splits.items()}


def _comparison(
    config: RunConfig, classifier: FrozenClassifier, one: Comparison, judge: ValidationJudge | None
) -> dict[str, Any]:
    """A baseline or control as JSON values, in the form of a candidate."""
    judged = one.selection or (judge.record(one.val, certified=False) if judge and one.val is not None else None)
    return {
        "system": one.system,
        "setting": one.setting,
        "shift": one.shift,
        "selection": judged and judged.model_dump(mode="json"),
        "strength": one.strength,
        "step": one.step,
        "seconds": round(one.seconds, 3),
        "chosen": one.chosen,
        "splits": _reports(config, classifier, one.counts),
        "balanced_accuracy": _balanced_accuracies(one.counts),
        "counts": _cells(one.counts),
    }


def _cells(splits: Mapping[str, ConfusionCounts]) -> dict[str, Any]:
    return {split: counts_as_json(counts) for split, counts in splits.items()}


def _diagnose(inputs: ReportInputs, shown: Candidate, found: Mapping[str, Any]) -> Diagnosis | None:
    """The diagnosis of the shown candidate, for the groups that the gaps compare."""
    if inputs.splits is None or not inputs.config.report.enabled:
        return None
    report = found["bare"]["test"]
    left_out = report["gaps"]["demographic_parity_difference"]["excluded"]
    groups = tuple(group for group in report["groups"] if group not in left_out)
    compared = ComparedGroups(groups, bool(report.get("groups_overlap")))
    return diagnose(inputs.config, inputs.classifier, inputs.splits, shown, compared)


def _page(folder: Path, inputs: ReportInputs, found: dict[str, Any], diagnosis: Diagnosis | None) -> list[Path]:
    """Pictures and page; the shares of the saliency go into `found`."""
    from trainer.diagnostics import explain, trigger_shares
    from trainer.report.figures.examples import smoothing
    from trainer.report.figures.pictures import draw_pictures
    from trainer.report.html_page import PageExtras, render_page, tokens_of

    trigger, explained = inputs.result.candidates[shown_at(inputs.result)].trigger, None
    if diagnosis and diagnosis.examples:
        explained = explain(inputs.config, inputs.classifier, diagnosis.examples, trigger)
        for example, share in zip(found["examples"], trigger_shares(explained), strict=True):
            example["trigger_share"] = share
    pictures = draw_pictures(folder, found, inputs.result, explained)
    known = not isinstance(trigger, ImageTrigger) and trigger.embeddings.shape[1]
    nearest = nearest_words(inputs.classifier, cast(TextTrigger, trigger)) if known else []
    side = smoothing(trigger.size) if isinstance(trigger, ImageTrigger) else 1
    page = folder / "report.html"
    write_atomically(page, render_page(found, PageExtras(pictures, tokens_of(explained), nearest, side)).encode())
    return [page, *pictures.values()]
