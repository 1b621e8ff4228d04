"""The controls that every report shows beside the triggers: what the same figures look like without learning one.

threshold          one global shift of the positive logit, the best above the accuracy floor, and the curve over shifts
threshold_matched  the shift that gives the share of positives that a trigger gives, both on validation
constant           the tuning part's commonest label for everybody: no gap, and no use
random             untrained triggers of the trained kind and geometry, one per seed
shrink, black      the trained trigger's place without its content: the border's shrunk image, a black patch
strength_zero      a trigger trained for utility alone

Validation picks, the test split is counted once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from trainer.comparison import Comparison, System
from trainer.config import RunConfig
from trainer.crossfit import joined, train_triggers
from trainer.data import Dataset, Splits
from trainer.evaluate import confusion_counts
from trainer.learn import judge_of
from trainer.outcome import Counts, Outcome
from trainer.progress import Progress
from trainer.reproducible import reproducible
from trainer.residency import placed
from trainer.threshold import Margins, margins, nearest_first, thinned
from trainer.trainables import build_module
from triggers.classifier import FrozenClassifier, Trigger
from triggers.image import ImageTrigger
from triggers.image_modules import ImageModule

SPLITS = ("val", "test")


def run_controls(
    config: RunConfig, classifier: FrozenClassifier, splits: Splits, outcome: Outcome, progress: Progress
) -> tuple[Comparison, ...]:
    """All controls that [controls] asks for, of a finished training, counted on the rows that its triggers were."""
    if not config.controls.enabled:
        return ()
    device, rows, limit = classifier.device, config.train.batch_size, config.train.device_memory_gb
    val = joined(splits.tuning, splits.val) if config.select.folds > 1 else splits.val
    data = dict(zip(SPLITS, placed({"val": val, "test": splits.test}, device, limit, progress), strict=True))
    counter = classifier.accelerated() if device.type == "cuda" else classifier  # as training counts
    with reproducible(device, config.train.threads):
        made = [
            *threshold_controls(config, counter, data, outcome),
            constant_control(classifier.labels, splits.tuning, data),
            *trigger_controls("random", random_triggers(config, classifier), counter, data, rows),
            *_blank_controls(counter, data, outcome, rows),
        ]
    if config.controls.strength_zero:
        made.append(strength_zero(config, classifier, splits, progress))
    return tuple(made)


def threshold_controls(
    config: RunConfig, classifier: FrozenClassifier, data: Mapping[str, Dataset], outcome: Outcome
) -> list[Comparison]:
    """The curve over shifts with the best one marked, then for every trigger the shift with its share of positives."""
    began = time.monotonic()
    judge = judge_of(config, classifier, outcome.bare["val"])
    parts = {split: margins(classifier, data[split], config.train.batch_size) for split in SPLITS}
    cuts = parts["val"].cuts()
    scanned = nearest_first(thinned(cuts, config.controls.thresholds))
    best = min(scanned, key=lambda shift: judge.rank(judge.score(parts["val"].counts(shift))))
    curve = sorted({best, 0.0, *thinned(cuts, config.controls.curve)})
    matched = [
        (one.strength, parts["val"].matching(_selection_rate(one.counts["val"], classifier.pos_label)))
        for one in outcome.candidates
    ]
    seconds = time.monotonic() - began
    found = [_shifted("threshold", parts, shift, seconds, chosen=shift == best) for shift in curve]
    for at, (strength, shift) in enumerate(matched):
        one = _shifted("threshold_matched", parts, shift, seconds, chosen=at == outcome.best)
        found.append(replace(one, setting=f"as many positives as strength {strength:g}", strength=strength))
    return found


def constant_control(labels: Sequence[str], tuning: Dataset, data: Mapping[str, Dataset]) -> Comparison:
    """The commonest label of the tuning part for every row; a tie goes to the lower label."""
    commonest = int(torch.bincount(tuning.labels, minlength=len(labels)).argmax())
    counts: dict[str, Counts] = {
        split: {(group, label, commonest): n for (group, label), n in data[split].counts().items()} for split in SPLITS
    }
    return Comparison("constant", f"always {labels[commonest]}", counts, 0.0, chosen=True)


def random_triggers(config: RunConfig, classifier: FrozenClassifier) -> list[tuple[str, Trigger]]:
    """Triggers of the trained kind and geometry over its whole range of values, one per seed, with names.

    Images get noise: uniform pixels, or for an overlay changes up to epsilon. Texts get random words that are allowed.
    """
    first = 1000 * (config.train.seed + 1)  # other triggers in every run, none at which a training starts
    seeds = range(first, first + config.controls.random)
    return [(f"seed {seed}", _random_trigger(config, classifier, seed)) for seed in seeds]


def trigger_controls(
    system: System,
    named: Sequence[tuple[str, Trigger]],
    classifier: FrozenClassifier,
    data: Mapping[str, Dataset],
    rows: int,
) -> list[Comparison]:
    """Count given triggers, all in one pass over each split."""
    if not named:
        return []
    began = time.monotonic()
    bank = classifier.bank([trigger for _, trigger in named])
    counted = {split: confusion_counts(classifier, data[split], bank, rows) for split in SPLITS}
    seconds = (time.monotonic() - began) / len(named)
    return [
        Comparison(system, name, {split: counted[split][at] for split in SPLITS}, seconds, chosen=len(named) == 1)
        for at, (name, _) in enumerate(named)
    ]


def strength_zero(config: RunConfig, classifier: FrozenClassifier, splits: Splits, progress: Progress) -> Comparison:
    """Train one more trigger, for utility alone: the gap objective with strength 0, which has no projection either."""
    objective = replace(config.objective, name="gap", strengths=(0.0,), reweigh=False)
    outcome = train_triggers(replace(config, objective=objective), classifier, splits, progress)
    (one,) = outcome.candidates
    return Comparison("strength_zero", "strength 0", one.counts, outcome.seconds, 0.0, one.step, chosen=True)


def _shifted(system: System, parts: Mapping[str, Margins], shift: float, seconds: float, *, chosen: bool) -> Comparison:
    counts = {split: parts[split].counts(shift) for split in SPLITS}
    return Comparison(system, f"shift {shift:+.3g}", counts, seconds, chosen=chosen)


def _selection_rate(counts: Counts, pos_label: int) -> float:
    return sum(n for (_, _, prediction), n in counts.items() if prediction == pos_label) / sum(counts.values())


def _random_trigger(config: RunConfig, classifier: FrozenClassifier, seed: int) -> Trigger:
    """A module of one trigger at its start, which for images is spread over all values that training could reach."""
    one = replace(config.objective, strengths=(0.0,))
    module = build_module(replace(config, objective=one, train=replace(config.train, seed=seed)), classifier)
    if isinstance(module, ImageModule):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            noise = torch.rand(module.weight.shape, generator=generator)
            module.weight.copy_(torch.logit(noise, eps=1e-6))  # sigmoid gives the noise back
    (trigger,) = module.export()
    return trigger


def _blank_controls(
    classifier: FrozenClassifier, data: Mapping[str, Dataset], outcome: Outcome, rows: int
) -> list[Comparison]:
    """Border, patch and pixels in black; where validation chose no trigger, in the place of the first."""
    trigger = outcome.candidates[outcome.best or 0].trigger
    if not isinstance(trigger, ImageTrigger) or trigger.kind not in ("border", "patch", "pixels"):
        return []
    blank = replace(trigger, delta=torch.zeros_like(trigger.delta))
    if trigger.kind == "border":
        named: list[tuple[str, Trigger]] = [(f"to {trigger.inner} of {trigger.size} pixels", blank)]
        return trigger_controls("shrink", named, classifier, data, rows)
    return trigger_controls("black", [(trigger.kind, blank)], classifier, data, rows)
