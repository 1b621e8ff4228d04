"""The methods of post-processing beside the triggers: fitted on tuning, chosen on validation, counted on test once.

Cross-fitted as triggers are where `select.folds` says so: each fold's rows are predicted by rules that were fitted on
the other folds; the rules that are counted on test were fitted on all rows.

A method's rules are tested as triggers are, from the weakest of a family on until one fails, in an order that
validation did not choose. The methods share delta, and a method's families its part: with probability 1 - delta no
certified rule of any of them breaks the budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from trainer.baselines.postprocessing.frappe import fit_frappe
from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.hardt import fit_hardt
from trainer.baselines.postprocessing.linear_post import fit_linear_post
from trainer.baselines.postprocessing.oxonfair import fit_oxonfair
from trainer.baselines.postprocessing.record import PostProcessing
from trainer.baselines.postprocessing.rule import FitTarget, FittedRule, UnsupportedDataError
from trainer.config import RunConfig
from trainer.data import Splits
from trainer.distributed import deterministic_algorithms
from trainer.evaluation import Comparison, TrainingResult
from trainer.evaluation.comparison_record import System
from trainer.evaluation.counts import count_predictions
from trainer.evaluation.recommendation import RULES, ValidationJudge, best_trigger, certified_in_order
from trainer.formatting import system_name
from trainer.training.crossfit import assign_folds, concatenate
from triggers.artifact.selection_record import SelectionRecord
from triggers.model import FrozenClassifier

FitRules: TypeAlias = Callable[[FrozenOutputs, FitTarget], list[FittedRule]]
"""Fits a method's family of rules on the tuning part. Raises UnsupportedDataError."""

POSTPROCESSORS: Mapping[System, FitRules] = {
    "hardt": fit_hardt,
    "oxonfair": fit_oxonfair,
    "frappe": fit_frappe,
    "linear_post": fit_linear_post,
}
"""Every method, in the order of the reports."""


@dataclass(frozen=True, eq=False)
class _Parts:
    """The outputs that rules are fitted and judged on; `fold_of` (N,) says which rows of `fit` a fold holds out."""

    fit: FrozenOutputs
    val: FrozenOutputs
    test: FrozenOutputs
    fold_of: Tensor | None


def postprocessing_comparisons(
    config: RunConfig, classifier: FrozenClassifier, splits: Splits, result: TrainingResult
) -> PostProcessing:
    """All methods for a finished training, on the rows that its judge judges; features are computed once per part."""
    judge = result.judge
    assert judge  # every training has one
    if config.data.groups_overlap:
        names = ", ".join(map(system_name, POSTPROCESSORS))
        return PostProcessing(notes=(f"Not compared ({names}): post-processing needs groups that do not overlap.",))
    target = FitTarget(config.objective.criterion, config.select.measure, classifier.pos_label)
    with deterministic_algorithms(classifier.device, config.train.threads):
        parts = _parts(config, classifier, splits)
        sharing = judge.sharing_delta(sum(system in RULES for system in POSTPROCESSORS))
        found = [_fitted(system, fit, target, parts, sharing) for system, fit in POSTPROCESSORS.items()]
    return PostProcessing(
        tuple(one for each in found for one in each.comparisons),
        {system: tensors for each in found for system, tensors in each.tensors.items()},
        tuple(note for each in found for note in each.notes),
    )


def _parts(config: RunConfig, classifier: FrozenClassifier, splits: Splits) -> _Parts:
    tuning, val, test = (
        FrozenOutputs.of(classifier, part, config.train.batch_size) for part in (splits.tuning, splits.val, splits.test)
    )
    if config.select.folds == 1:
        return _Parts(tuning, val, test, None)
    pool = tuning.followed_by(val)
    fold_of = assign_folds(concatenate(splits.tuning, splits.val), config.select.folds, config.split.seed)
    return _Parts(pool, pool, test, fold_of)


def _fitted(system: System, fit: FitRules, target: FitTarget, parts: _Parts, judge: ValidationJudge) -> PostProcessing:
    began = time.monotonic()
    try:
        rules = fit(parts.fit, target)
        val = _validated(rules, fit, target, parts)
    except UnsupportedDataError as error:
        return PostProcessing(notes=(f"Not compared: {system_name(system)} {error}.",))
    test = [one.rule.predict(parts.test) for one in rules]
    seconds = (time.monotonic() - began) / len(rules)
    sharing = judge.sharing_delta(len({one.family for one in rules}))
    passed = _certified(sharing, rules, val) if system in RULES else set()
    records = [sharing.record(one, certified=at in passed) for at, one in enumerate(val)]
    best = _choice(judge, val, records)
    comparisons = tuple(
        Comparison(
            system,
            one.setting,
            {"val": judge.rows.counts(val[at]), "test": count_predictions(parts.test.data, test[at])},
            seconds,
            one.strength,
            chosen=at == best,
            val=val[at],
            selection=records[at],
        )
        for at, one in enumerate(rules)
    )
    return PostProcessing(comparisons, {system: rules[best].rule.tensors()})


def _certified(judge: ValidationJudge, rules: Sequence[FittedRule], val: Sequence[Tensor]) -> set[int]:
    """The rules that pass: each family is tested for itself, in its own order."""
    found: set[int] = set()
    for family in {one.family for one in rules}:
        places = [at for at, one in enumerate(rules) if one.family == family]
        passed = certified_in_order(judge, [val[at] for at in places], range(len(places)))
        found.update(places[k] for k in passed)
    return found


def _validated(rules: Sequence[FittedRule], fit: FitRules, target: FitTarget, parts: _Parts) -> list[Tensor]:
    """Predictions of the validation rows under each rule, or under those of the folds that held the rows out."""
    if parts.fold_of is None:
        return [one.rule.predict(parts.val).long() for one in rules]
    found = [torch.empty(len(parts.val), dtype=torch.int64) for _ in rules]
    for fold in parts.fold_of.unique():
        held_out = (parts.fold_of == fold).nonzero()[:, 0]
        others = fit(parts.fit.take((parts.fold_of != fold).nonzero()[:, 0]), target)
        for into, one, other in zip(found, rules, others, strict=True):
            assert one.setting == other.setting
            into[held_out] = other.rule.predict(parts.val.take(held_out)).long()
    return found


def _choice(judge: ValidationJudge, val: Sequence[Tensor], records: Sequence[SelectionRecord]) -> int:
    """The setting that is preferred as a trigger would be; where none may be recommended, the nearest to it."""
    best = best_trigger(judge, dict(enumerate(val)), records)
    return best if best is not None else min(range(len(val)), key=lambda at: judge.criterion.rank(judge.score(val[at])))
