"""The published baselines, from configuration to records: AdvPost, AdvIN and FAAP, one model per strength.

AdvPost and AdvIN are whole classifiers (trainer/baselines/whole_models.py). FAAP leaves the classifier frozen, as
triggers do, and trains a network that changes each image (trainer/baselines/faap), on the tuning part.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from trainer.baselines.baseline_loop import BaselineOptimizer, train_baseline
from trainer.baselines.erm import TRAINED_ON, write_bundle
from trainer.baselines.faap import FaapOptimizer, GroupDiscriminator, PerturbedClassifier
from trainer.baselines.finetune_step import FinetuneOptimizer
from trainer.baselines.whole_models import start_model
from trainer.config import RunConfig
from trainer.config.comparison_config import Baseline
from trainer.config.hyperparameters import baseline_hyperparameters, baseline_strengths
from trainer.data import DataLoader, Dataset, Splits, place_on_device
from trainer.distributed import deterministic_algorithms
from trainer.evaluation import Comparison, SelectionCriterion, confusion_counts
from trainer.evaluation.comparison_record import SYSTEM_NAMES
from trainer.evaluation.counts import ConfusionCounts, count_predictions
from trainer.evaluation.selection import ValidationSnapshot, best_of, selection_criterion
from trainer.progress import Progress
from trainer.training.objectives.calibration import calibrating_temperature
from trainer.training.objectives.objective_step import StepConfig
from triggers.model import FrozenClassifier
from triggers.storage.regular_file import read_regular

BASELINES_FOLDER = "baselines"
"""Folder of saved models inside the run's folder."""


@dataclass(frozen=True, eq=False)
class Baselines:
    """Records of all systems and strengths, and the chosen model of each system where it is to be saved."""

    comparisons: tuple[Comparison, ...]
    models: Mapping[Baseline, FrozenClassifier | PerturbedClassifier]


@dataclass(frozen=True, eq=False)
class _Trained:
    """One model at its best validation: that snapshot, its test counts, and the model on the CPU if it may be saved."""

    snapshot: ValidationSnapshot
    test: ConfusionCounts
    seconds: float
    model: FrozenClassifier | PerturbedClassifier | None


def train_baselines(config: RunConfig, classifier: FrozenClassifier, splits: Splits, progress: Progress) -> Baselines:
    """Train every system of [baselines] at every strength; snapshots and strengths are chosen on the validation part by
    the rule for triggers (they are not cross-fitted), and the test split is counted once. Raises ConfigError.
    """
    comparisons: list[Comparison] = []
    models: dict[Baseline, FrozenClassifier | PerturbedClassifier] = {}
    with deterministic_algorithms(classifier.device, config.train.threads):
        criterion = _selection_criterion(config, classifier, splits.val)
        for system in config.baselines.systems:
            strengths = baseline_strengths(config, system)
            trained = [_train(system, config, classifier, splits, criterion, s, progress) for s in strengths]
            best = best_of(criterion, [one.snapshot for one in trained])
            pairs = enumerate(zip(strengths, trained, strict=True))
            found = [_comparison(system, s, one, chosen=at == best) for at, (s, one) in pairs]
            crossed = config.select.folds > 1  # triggers are then judged on more rows than these
            comparisons += [replace(one, val=None) for one in found] if crossed else found
            if best is not None and (model := trained[best].model):
                models[system] = model
    return Baselines(tuple(comparisons), models)


def save_baselines(folder: Path, baselines: Baselines, config: RunConfig, loader: DataLoader) -> None:
    """Write the chosen models as bundles that name the rows they were trained on, so that no trigger is tested on them.

    A model of AdvPost also lists the rows of the frozen classifier. Of FAAP the generator is written.
    """
    for system, model in baselines.models.items():
        place = folder / BASELINES_FOLDER / system
        if isinstance(model, PerturbedClassifier):
            model.save(place)
            continue
        contents = loader.contents("base" if system == "adv_in" else "tuning")
        before = config.model.bundle / TRAINED_ON
        if system == "adv_post" and before.exists():
            contents = [*read_regular(before).decode().split(), *contents]
        write_bundle(place, model, contents)


def _selection_criterion(config: RunConfig, classifier: FrozenClassifier, val: Dataset) -> SelectionCriterion:
    bank = classifier.bank([classifier.null_trigger()])
    (bare,) = confusion_counts(classifier, val, bank, config.train.batch_size)
    return selection_criterion(config, classifier, bare)


def _train(
    system: Baseline,
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    criterion: SelectionCriterion,
    strength: float,
    progress: Progress,
) -> _Trained:
    began = time.monotonic()
    how, device = baseline_hyperparameters(config, system), classifier.device
    parts = {"training": _part(system, splits), "val": splits.val, "test": splits.test}
    train, val, test = place_on_device(parts, device, config.train.device_memory_gb, progress)
    with (
        torch.random.fork_rng(),
        progress.task(f"fit {SYSTEM_NAMES[system]} {strength:g}", how.steps(len(train))) as task,
    ):
        torch.manual_seed(how.seed)
        make = _faap if system == "faap" else _finetuning
        optimizer, model = make(system, config, classifier, train, strength)
        snapshot = train_baseline(optimizer, train, val, criterion, task)
    counts = count_predictions(test, optimizer.predict(test))
    seconds = time.monotonic() - began
    optimizer.module.cpu()
    return _Trained(snapshot, counts, seconds, model if config.baselines.save else None)


def _part(system: Baseline, splits: Splits) -> Dataset:
    if system != "adv_in":
        return splits.tuning
    assert splits.base  # the caller loads it where AdvIN is wanted
    return splits.base


def _finetuning(
    system: Baseline, config: RunConfig, classifier: FrozenClassifier, train: Dataset, strength: float
) -> tuple[BaselineOptimizer, FrozenClassifier]:
    """A whole model before its first step, and what trains it."""
    how, name = baseline_hyperparameters(config, system), config.baselines.objective or config.objective.name
    objective = replace(config.objective, name=name, strengths=(strength,))
    step = StepConfig.for_data(train, objective, how.steps(len(train)), overlapping=config.data.groups_overlap)
    model = start_model(system, config, classifier)
    return FinetuneOptimizer(model, how, step), model


def _faap(
    system: Baseline, config: RunConfig, classifier: FrozenClassifier, train: Dataset, strength: float
) -> tuple[BaselineOptimizer, PerturbedClassifier]:
    """A generator before its first step in front of the frozen classifier, and what trains it."""
    how, rows = baseline_hyperparameters(config, system), config.train.batch_size
    model = PerturbedClassifier.untrained(classifier, config.perturbation_bound)
    discriminator = GroupDiscriminator.for_data(classifier, train, config.objective.criterion, rows)
    temperature = calibrating_temperature(classifier, train, rows) if config.objective.calibrate else 1.0
    optimizer = FaapOptimizer(
        model,
        discriminator,
        how,
        how.steps(len(train)),
        strength,
        temperature=temperature,
        overlapping=config.data.groups_overlap,
    )
    return optimizer, model


def _comparison(system: Baseline, strength: float, one: _Trained, *, chosen: bool) -> Comparison:
    return Comparison(
        system=system,
        setting=f"strength {strength:g}",
        counts={"val": one.snapshot.counts, "test": one.test},
        seconds=one.seconds,
        strength=strength,
        step=one.snapshot.step,
        chosen=chosen,
        val=one.snapshot.predictions,
    )
