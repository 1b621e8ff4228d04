"""Controls, shown with the triggers in every report: the same figures without a trigger learned for fairness.

threshold          one global shift of the positive logit, the best above the accuracy floor, and the curve over shifts
threshold_matched  the shift that gives the share of positives that a trigger gives, both on validation
constant           the tuning part's commonest label for every row: no gap, and no use
random             untrained triggers of the trained kind and geometry, one per seed
shrink, black      the trained trigger's geometry in black: the image shrunk into its border; a black patch or frame
strength_zero      a trigger trained for utility alone

Validation picks, the test split is counted once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec

import torch

from trainer.baselines.postprocessing import PostProcessing
from trainer.baselines.threshold import Margins, margins, nearest_first, thinned
from trainer.config import RunConfig
from trainer.data import Dataset, Splits, place_on_device
from trainer.distributed import deterministic_algorithms
from trainer.evaluation import Comparison, TrainingResult
from trainer.evaluation.comparison_record import System
from trainer.evaluation.counts import ConfusionCounts, count_predictions, evaluation_classifier, predicted_labels
from trainer.evaluation.selection import selection_criterion
from trainer.progress import Progress
from trainer.queries import asked_for, meter_of
from trainer.training import train_triggers
from trainer.training.build_module import build_module
from trainer.training.crossfit import concatenate
from triggers.model import FrozenClassifier, Trigger
from triggers.trigger import ImageTrigger
from triggers.trigger.image_trainable import ImageModule

SPLITS = ("val", "test")


def run_controls(
    config: RunConfig, classifier: FrozenClassifier, splits: Splits, result: TrainingResult, progress: Progress
) -> tuple[Comparison, ...]:
    """All controls of [controls] for a finished training, counted on the same rows as its triggers.

    Of a model that is asked through a meter only those that ask nothing more.
    """
    if not config.controls.enabled:
        return ()
    device, rows, limit = classifier.device, config.train.batch_size, config.train.device_memory_gb
    val = concatenate(splits.tuning, splits.val) if config.select.folds > 1 else splits.val
    data = dict(zip(SPLITS, place_on_device({"val": val, "test": splits.test}, device, limit, progress), strict=True))
    counter = evaluation_classifier(classifier)
    with deterministic_algorithms(device, config.train.threads):
        made = [
            *threshold_controls(config, counter, data, result),
            constant_control(classifier.labels, splits.tuning, data),
        ]
        if meter_of(classifier):  # whose answers to the bare rows are known
            return tuple(made)
        made += trigger_controls("random", random_triggers(config, classifier), counter, data, rows)
        made += _blank_controls(counter, data, result, rows)
    if config.controls.strength_zero:
        made.append(strength_zero(config, classifier, splits, progress))
    return tuple(made)


def run_postprocessing(
    config: RunConfig, classifier: FrozenClassifier, splits: Splits, result: TrainingResult, progress: Progress
) -> PostProcessing:
    """The rules on the frozen model's outputs, where [controls] wants them and scipy is installed."""
    if not (config.controls.enabled and config.controls.postprocessing):
        return PostProcessing()
    if not find_spec("scipy"):
        note = "No post-processing was compared: scipy is not installed. Run: pip install 'fairtrigger[report]'"
        progress.note(note)
        return PostProcessing(notes=(note,))
    from trainer.baselines.postprocessing.comparisons import postprocessing_comparisons

    meter = meter_of(classifier)
    if meter and result.queries and (missing := len(splits.tuning) - result.queries["rows"]) > meter.left:
        note = (
            f"No post-processing was compared: it needs the bare answers to {missing} more tuning rows, and "
            f"{meter.left} of train.max_queries = {meter.budget} are left."
        )
        progress.note(note)
        return PostProcessing(notes=(note,))
    with asked_for(classifier, "rivals"):
        return postprocessing_comparisons(config, classifier, splits, result)


def threshold_controls(
    config: RunConfig, classifier: FrozenClassifier, data: Mapping[str, Dataset], result: TrainingResult
) -> list[Comparison]:
    """The curve over shifts with the best one marked, then for every trigger the shift with its share of positives."""
    began = time.monotonic()
    criterion = selection_criterion(config, classifier, result.bare["val"])
    parts = {split: margins(classifier, data[split], config.train.batch_size) for split in SPLITS}
    cuts = parts["val"].cuts()
    scanned = nearest_first(thinned(cuts, config.controls.thresholds))
    best = min(scanned, key=lambda shift: criterion.rank(criterion.score(parts["val"].counts(shift))))
    curve = sorted({best, 0.0, *thinned(cuts, config.controls.curve)})
    matched = [
        (one.strength, parts["val"].matching(_selection_rate(one.counts["val"], classifier.pos_label)))
        for one in result.candidates
    ]
    seconds = time.monotonic() - began
    found = [_shifted("threshold", parts, shift, seconds, chosen=shift == best) for shift in curve]
    for at, (strength, shift) in enumerate(matched):
        one = _shifted("threshold_matched", parts, shift, seconds, chosen=at == result.best)
        found.append(replace(one, setting=f"as many positives as strength {strength:g}", strength=strength))
    return found


def constant_control(labels: Sequence[str], tuning: Dataset, data: Mapping[str, Dataset]) -> Comparison:
    """The commonest label of the tuning part for every row; a tie goes to the lower label."""
    commonest = int(torch.bincount(tuning.labels, minlength=len(labels)).argmax())
    counts: dict[str, ConfusionCounts] = {
        split: {(group, label, commonest): n for (group, label), n in data[split].counts().items()} for split in SPLITS
    }
    val = torch.full((len(data["val"]),), commonest, dtype=torch.int32)
    return Comparison("constant", f"always {labels[commonest]}", counts, 0.0, chosen=True, val=val)


def random_triggers(config: RunConfig, classifier: FrozenClassifier) -> list[tuple[str, Trigger]]:
    """Triggers of the trained kind and geometry over its whole range of values, one per seed, with names.

    Images get noise: uniform pixels, or for an overlay changes up to epsilon. Texts get random words that are allowed.
    """
    first = 1000 * (config.train.seed + 1)  # different for every run's seed, and from the seeds of trainings
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
    found = {split: predicted_labels(classifier, data[split], bank, rows) for split in SPLITS}
    seconds = (time.monotonic() - began) / len(named)
    return [
        Comparison(
            system,
            name,
            {split: count_predictions(data[split], found[split][at]) for split in SPLITS},
            seconds,
            chosen=len(named) == 1,
            val=found["val"][at].cpu(),
        )
        for at, (name, _) in enumerate(named)
    ]


def strength_zero(config: RunConfig, classifier: FrozenClassifier, splits: Splits, progress: Progress) -> Comparison:
    """Train one more trigger, for utility alone: the gap objective with strength 0, which has no projection either."""
    objective = replace(config.objective, name="gap", strengths=(0.0,), reweigh=False)
    result = train_triggers(replace(config, objective=objective), classifier, splits, progress)
    (one,) = result.candidates
    return Comparison(
        "strength_zero", "strength 0", one.counts, result.seconds, 0.0, one.step, chosen=True, val=one.val
    )


def _shifted(system: System, parts: Mapping[str, Margins], shift: float, seconds: float, *, chosen: bool) -> Comparison:
    counts = {split: parts[split].counts(shift) for split in SPLITS}
    val = parts["val"].predictions(shift).cpu()
    return Comparison(system, f"shift {shift:+.3g}", counts, seconds, chosen=chosen, val=val, shift=shift)


def _selection_rate(counts: ConfusionCounts, pos_label: int) -> float:
    return sum(n for (_, _, prediction), n in counts.items() if prediction == pos_label) / sum(counts.values())


def _random_trigger(config: RunConfig, classifier: FrozenClassifier, seed: int) -> Trigger:
    """One untrained trigger; an image trigger is noise over all values that training could reach."""
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
    classifier: FrozenClassifier, data: Mapping[str, Dataset], result: TrainingResult, rows: int
) -> list[Comparison]:
    """Border, patch or pixels in black, with the geometry of the chosen trigger, or of the first if none was chosen."""
    trigger = result.candidates[result.best or 0].trigger
    if not isinstance(trigger, ImageTrigger) or trigger.kind not in ("border", "patch", "pixels"):
        return []
    blank = replace(trigger, delta=torch.zeros_like(trigger.delta))
    if trigger.inner < trigger.size:
        named: list[tuple[str, Trigger]] = [(f"to {trigger.inner} of {trigger.size} pixels", blank)]
        return trigger_controls("shrink", named, classifier, data, rows)
    return trigger_controls("black", [(trigger.kind, blank)], classifier, data, rows)
