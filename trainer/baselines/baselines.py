"""The published baselines, from configuration to records: AdvPost and AdvIN, one model per strength.

AdvPost starts from the frozen classifier's weights and trains all of them on the tuning part, on which triggers are
tuned. AdvIN starts from fresh weights (texts: the encoder's) and trains on the base part, as the classifier was fitted.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trainer.baselines.erm import TRAINED_ON, build_untrained, write_bundle
from trainer.baselines.finetune_loop import finetune
from trainer.config import RunConfig
from trainer.config.comparison_config import Baseline
from trainer.config.hyperparameters import baseline_hyperparameters
from trainer.data import DataLoader, Dataset, Splits, place_on_device
from trainer.distributed import deterministic_algorithms
from trainer.evaluation import Comparison, SelectionCriterion, confusion_counts
from trainer.evaluation.comparison_record import SYSTEM_NAMES
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import ValidationSnapshot, best_of, selection_criterion
from trainer.progress import Progress
from triggers.model import BundleSpec, FrozenClassifier
from triggers.model.bundle import WEIGHTS_FILE, TransformersLoader
from triggers.storage.regular_file import read_regular

BASELINES_FOLDER = "baselines"
"""Folder of saved models inside the run's folder."""


@dataclass(frozen=True, eq=False)
class Baselines:
    """Records of all systems and strengths, and the chosen model of each system where it is to be saved."""

    comparisons: tuple[Comparison, ...]
    models: Mapping[Baseline, FrozenClassifier]


@dataclass(frozen=True, eq=False)
class _Trained:
    """One model at its best validation: that snapshot, its test counts, and the model on the CPU if it may be saved."""

    snapshot: ValidationSnapshot
    test: ConfusionCounts
    seconds: float
    model: FrozenClassifier | None


def train_baselines(config: RunConfig, classifier: FrozenClassifier, splits: Splits, progress: Progress) -> Baselines:
    """Train every system of [baselines] at every strength; snapshots and strengths are chosen on the validation part by
    the rule for triggers (they are not cross-fitted), and the test split is counted once. Raises ConfigError.
    """
    comparisons: list[Comparison] = []
    models: dict[Baseline, FrozenClassifier] = {}
    with deterministic_algorithms(classifier.device, config.train.threads):
        criterion = _selection_criterion(config, classifier, splits.val)
        for system in config.baselines.systems:
            strengths = config.baselines.strengths or config.objective.fixed_strengths
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

    A model of AdvPost also lists the rows of the frozen classifier.
    """
    for system, model in baselines.models.items():
        contents = loader.contents("base" if system == "adv_in" else "tuning")
        before = config.model.bundle / TRAINED_ON
        if system == "adv_post" and before.exists():
            contents = [*read_regular(before).decode().split(), *contents]
        write_bundle(folder / BASELINES_FOLDER / system, model, contents)


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
    name = config.baselines.objective or config.objective.name
    objective = replace(config.objective, name=name, strengths=(strength,))
    with (
        torch.random.fork_rng(),
        progress.task(f"fit {SYSTEM_NAMES[system]} {strength:g}", how.steps(len(train))) as task,
    ):
        torch.manual_seed(how.seed)
        model = _start(system, config, classifier)
        snapshot = finetune(model, train, val, objective, how, criterion, task, overlapping=config.data.groups_overlap)
    (counts,) = confusion_counts(model, test, model.bank([model.null_trigger()]), how.batch_size)
    seconds = time.monotonic() - began
    model.network.cpu()
    return _Trained(snapshot, counts, seconds, model if config.baselines.save else None)


def _part(system: Baseline, splits: Splits) -> Dataset:
    if system == "adv_post":
        return splits.tuning
    assert splits.base  # the caller loads it where AdvIN is wanted
    return splits.base


def _start(system: Baseline, config: RunConfig, classifier: FrozenClassifier) -> FrozenClassifier:
    """The model before its first step, in a bundle of its own name; the frozen classifier is not changed."""
    device = str(classifier.device)
    if system == "adv_in":
        assert config.base
        fresh = build_untrained(config.base.named(classifier.labels), config.model.bundle, classifier.device)
        spec = fresh.spec.model_copy(update=_threshold(classifier.spec))
        return FrozenClassifier(_spec(spec, system), fresh.network, fresh.tokenizer, device)
    network = copy.deepcopy(classifier.network)
    return FrozenClassifier(_spec(classifier.spec, system), network, classifier.tokenizer, device)


def _spec(spec: BundleSpec, system: Baseline) -> BundleSpec:
    """The bundle of a baseline: files where `write_bundle` puts them, and a name that differs from the original's."""
    loader = spec.loader
    if isinstance(loader, TransformersLoader):
        loader = TransformersLoader(kind="transformers")
    else:
        loader = loader.model_copy(update={"weights": WEIGHTS_FILE})
    name = f"{spec.name[:50]}-{system.replace('_', '-')}"
    return spec.model_copy(update={"name": name, "loader": loader, "origin": {}, "comparison": None})


def _threshold(spec: BundleSpec) -> dict[str, Any]:
    """The fields of a decision at a threshold, which a model in the classifier's place has to make too."""
    return {} if spec.threshold is None else {"threshold": spec.threshold, "pos_label": spec.pos_label}


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
