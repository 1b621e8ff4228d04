"""What validation picks of a system at each accuracy budget, and what the test part says of the pick, once."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product

import torch
from torch import Tensor

from benchmarks.systems import BUDGETS
from trainer.baselines.erm import build_untrained
from trainer.baselines.finetune_step import FinetuneOptimizer
from trainer.baselines.threshold import Margins, margins, thinned
from trainer.config import RunConfig
from trainer.config.hyperparameters import baseline_hyperparameters
from trainer.data import Batches, Dataset, Splits
from trainer.distributed import deterministic_algorithms
from trainer.evaluation import SelectionCriterion, confusion_counts
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import ValidationSnapshot, selection_criterion
from trainer.progress import Progress
from trainer.training.objective_step import StepConfig
from trainer.training.training_loop import TrainingRun
from trainer.training.validation_history import PredictValidation
from triggers.model import FrozenClassifier

SHIFTS = 300
"""Thresholds that the control tries: a sixth of a point of the share of positives apart."""

COMBINATIONS = 2500
"""Sets of thresholds, one for each group, that are tried where the groups are known."""


@dataclass(frozen=True, eq=False)
class Pick:
    """Validation's best within a budget: its strength (None: nothing was trained) and its counts on both parts.

    `received` are its counts on the test part under other classifiers than the one that it was trained and picked on.
    """

    budget: float
    strength: float | None
    val: ConfusionCounts
    test: ConfusionCounts
    received: tuple[ConfusionCounts, ...] = ()


class Picker:
    """Takes every validation of a system and keeps the best within each budget, with its test counts."""

    def __init__(self, config: RunConfig, classifier: FrozenClassifier, bare: ConfusionCounts) -> None:
        self.judges = {budget: judge_at(config, classifier, bare, budget) for budget in BUDGETS}
        self._best: dict[float, tuple[ValidationSnapshot, float | None, Sequence[ConfusionCounts]]] = {}

    def offer(
        self, step: int, strength: float | None, val: ConfusionCounts, test: Callable[[], Sequence[ConfusionCounts]]
    ) -> None:
        """A system as it is after `step` steps; its test counts are asked for where it is the best so far."""
        counted: Sequence[ConfusionCounts] | None = None
        snapshot = ValidationSnapshot(
            step, val, next(iter(self.judges.values())).score(val)
        )  # judges differ in their floors
        for budget, judge in self.judges.items():
            present = self._best.get(budget)
            if judge.feasible(snapshot.score) and judge.better(snapshot, present and present[0]):
                counted = test() if counted is None else counted
                self._best[budget] = (snapshot, strength, counted)

    def picks(self) -> list[Pick]:
        """One per budget that something kept to."""
        return [
            Pick(budget, strength, one.counts, own, tuple(received))
            for budget, (one, strength, (own, *received)) in self._best.items()
        ]


def judge_at(
    config: RunConfig, classifier: FrozenClassifier, bare: ConfusionCounts, budget: float
) -> SelectionCriterion:
    """The product's own judge with another budget, of plain accuracy, and no floor of recalls: the same for every
    system, trained or not.
    """
    select = replace(config.select, max_accuracy_drop=budget, measure="accuracy", min_recall_ratio=0.0)
    return selection_criterion(replace(config, select=select), classifier, bare)


def trigger_picks(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    receivers: Sequence[FrozenClassifier] = (),
) -> list[Pick]:
    """Train the triggers of a configuration; the picks are tried on `receivers` as well."""
    with deterministic_algorithms(classifier.device, config.train.threads):
        run = TrainingRun.prepare(config, classifier, splits, progress)
        picker = Picker(config, classifier, run.val_rows.counts(run.val_rows.bare))
        run.train(_Keeper(run, picker, receivers))
        return picker.picks()


class _Tests:
    """The test counts of all strengths as the run's triggers are now, made once and only if somebody asks."""

    def __init__(self, run: TrainingRun, receivers: Sequence[FrozenClassifier]) -> None:
        self._run, self._receivers = run, receivers

    def of(self, k: int) -> list[ConfusionCounts]:
        """Of strength k: under the run's own classifier, then under every receiver."""
        return [counted[k] for counted in self._counted]

    @cached_property
    def _counted(self) -> list[Sequence[ConfusionCounts]]:
        run = self._run
        with torch.no_grad():
            bank = run.optimizer.average.render()
        judges = [run.counter, *(each.accelerated() for each in self._receivers)]
        return [confusion_counts(each, run.test, bank, run.config.train.batch_size) for each in judges]


class _Keeper:
    """Passes a run's validations on; nothing is written, so nothing is read back."""

    def __init__(self, run: TrainingRun, picker: Picker, receivers: Sequence[FrozenClassifier]) -> None:
        self._run, self._picker, self._receivers = run, picker, receivers

    def offer(self, step: int, predict: PredictValidation) -> None:
        """Every strength's trigger as it is now."""
        tests = _Tests(self._run, self._receivers)
        for k, (strength, found) in enumerate(
            zip(self._run.config.objective.fixed_strengths, predict().cpu(), strict=True)
        ):
            self._picker.offer(step, strength, self._run.val_rows.counts(found), partial(tests.of, k))

    def tensors(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing."""


def weight_picks(
    system: str, config: RunConfig, classifier: FrozenClassifier, splits: Splits, strengths: Sequence[float]
) -> list[Pick]:
    """AdvPost or AdvIN at each strength, one after another."""
    device, how = classifier.device, baseline_hyperparameters(config, "adv_in" if system == "AdvIN" else "adv_post")
    part = splits.base if system == "AdvIN" else splits.tuning
    assert part
    train, val, test = (one.to(device) for one in (part, splits.val, splits.test))
    null = classifier.bank([classifier.null_trigger()])
    (bare,) = confusion_counts(classifier, val, null, 512)
    picker = Picker(config, classifier, bare)
    with deterministic_algorithms(device, config.train.threads):
        for strength in strengths:
            objective = replace(config.objective, strengths=(strength,))
            with torch.random.fork_rng():
                torch.manual_seed(how.seed)
                model = _start(system, config, classifier)
                learner = FinetuneOptimizer(
                    model, how, StepConfig(objective, len(train.identities), how.steps(len(train)))
                )
                _train(learner, train, val, test, picker, strength)
    return picker.picks()


def _train(
    learner: FinetuneOptimizer, train: Dataset, val: Dataset, test: Dataset, picker: Picker, strength: float
) -> None:
    how = learner.hyperparameters
    batches = Batches(train, how.batch_size, seed=how.seed, flip=how.flip, shift=how.shift, crop=how.crop)
    every = max(1, learner.steps // 10)

    def counted(data: Dataset) -> ConfusionCounts:
        learner.model.network.eval()
        return confusion_counts(learner.model, data, learner.bare, 512)[0]

    for number, batch in enumerate(batches.each(range(learner.steps))):
        learner.step(number, batch)
        if (number + 1) % every == 0:
            picker.offer(number + 1, strength, counted(val), lambda: [counted(test)])


def _start(system: str, config: RunConfig, classifier: FrozenClassifier) -> FrozenClassifier:
    if system == "AdvIN":
        assert config.base
        return build_untrained(config.base.named(classifier.labels), config.model.bundle, classifier.device)
    network, device = copy.deepcopy(classifier.network), str(classifier.device)
    return FrozenClassifier(classifier.spec, network, classifier.tokenizer, device)


def threshold_picks(config: RunConfig, classifier: FrozenClassifier, splits: Splits) -> list[Pick]:
    """One global shift of the positive logit, tried at so many shifts that change a validation prediction."""
    val, test = (margins(classifier, part, 512) for part in (splits.val, splits.test))
    picker = Picker(config, classifier, val.counts(0.0))
    for shift in thinned(val.cuts(), SHIFTS):
        picker.offer(0, None, val.counts(shift), lambda shift=shift: [test.counts(shift)])  # type: ignore[misc]
    return picker.picks()


def group_threshold_picks(config: RunConfig, classifier: FrozenClassifier, splits: Splits) -> list[Pick]:
    """A shift for each group, all chosen together: what can be done with these scores where every row's group is known.

    A trigger never knows it, so this is no rival but a measure. Source: Hardt et al., NeurIPS 2016.
    """
    val, test = (_by_group(classifier, part) for part in (splits.val, splits.test))
    picker = Picker(config, classifier, _joined([one.counts(0.0) for one in val]))
    each = round(COMBINATIONS ** (1 / len(val)))
    tried = [[(shift, one.counts(shift)) for shift in thinned(one.cuts(), each)] for one in val]
    for chosen in product(*tried):
        shifts, counts = zip(*chosen, strict=True)
        picker.offer(0, None, _joined(counts), partial(_shifted, test, shifts))
    return picker.picks()


def _by_group(classifier: FrozenClassifier, data: Dataset) -> list[Margins]:
    groups = range(len(data.group_names))
    return [margins(classifier, data.take((data.groups == group).nonzero()[:, 0]), 512) for group in groups]


def _shifted(parts: Sequence[Margins], shifts: Sequence[float]) -> list[ConfusionCounts]:
    return [_joined([part.counts(shift) for part, shift in zip(parts, shifts, strict=True)])]


def _joined(parts: Sequence[ConfusionCounts]) -> ConfusionCounts:
    """The counts of all groups together."""
    total: Counter[tuple[str, int | None, int]] = Counter()
    for part in parts:
        total.update(part)
    return total
