"""The published rivals of a trigger, from configuration to records: AdvPost and AdvIN, one model per strength.

AdvPost starts from the frozen classifier's weights and trains all of them on the tuning part, on which triggers are
tuned. AdvIN starts from fresh weights (texts: the encoder's) and trains on the base part, as the classifier was fitted.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from trainer.base_classifier import TRAINED_ON, build_untrained, write_bundle
from trainer.compared import Baseline
from trainer.comparison import NAMES, Comparison
from trainer.config import RunConfig
from trainer.data import Dataset, Splits
from trainer.evaluate import confusion_counts
from trainer.full_weights import train_weights
from trainer.learn import judge_of
from trainer.load import DataLoader
from trainer.outcome import Counts
from trainer.progress import Progress
from trainer.recipe import recipe
from trainer.reproducible import reproducible
from trainer.residency import placed
from trainer.select import Judge, Snapshot, choose
from triggers.bundle import WEIGHTS_FILE, BundleSpec, TransformersLoader
from triggers.classifier import FrozenClassifier
from triggers.regular_file import read_regular

FOLDER = "baselines"
"""Folder of saved models inside the run's folder."""


@dataclass(frozen=True, eq=False)
class Baselines:
    """The records of all systems and strengths; of each system the chosen model, where it is to be saved."""

    comparisons: tuple[Comparison, ...]
    models: Mapping[Baseline, FrozenClassifier]


@dataclass(frozen=True, eq=False)
class _Trained:
    """One model at its best validation: what it scored there, its test counts, itself on the CPU if it may be saved."""

    snapshot: Snapshot
    test: Counts
    seconds: float
    model: FrozenClassifier | None


def train_baselines(config: RunConfig, classifier: FrozenClassifier, splits: Splits, progress: Progress) -> Baselines:
    """Train every system of [baselines] at every strength; snapshots and strengths are chosen on the validation part by
    the rule for triggers (they are not cross-fitted), and the test split is counted once. Raises ConfigError.
    """
    comparisons: list[Comparison] = []
    models: dict[Baseline, FrozenClassifier] = {}
    with reproducible(classifier.device, config.train.threads):
        judge = _judge(config, classifier, splits.val)
        for system in config.baselines.systems:
            strengths = config.baselines.strengths or config.objective.strengths
            trained = [_train(system, config, classifier, splits, judge, s, progress) for s in strengths]
            best = choose(judge, [one.snapshot for one in trained], strengths).best
            pairs = enumerate(zip(strengths, trained, strict=True))
            comparisons += [_comparison(system, s, one, chosen=at == best) for at, (s, one) in pairs]
            if best is not None and (model := trained[best].model):
                models[system] = model
    return Baselines(tuple(comparisons), models)


def save_baselines(folder: Path, baselines: Baselines, config: RunConfig, loader: DataLoader) -> None:
    """Write the chosen models as bundles that name the rows they were trained on, so that no trigger is judged on them.

    A model of AdvPost has seen the frozen classifier's rows too.
    """
    for system, model in baselines.models.items():
        contents = loader.contents("base" if system == "adv_in" else "tuning")
        before = config.model.bundle / TRAINED_ON
        if system == "adv_post" and before.exists():
            contents = [*read_regular(before).decode().split(), *contents]
        write_bundle(folder / FOLDER / system, model, contents)


def _judge(config: RunConfig, classifier: FrozenClassifier, val: Dataset) -> Judge:
    bank = classifier.bank([classifier.null_trigger()])
    (bare,) = confusion_counts(classifier, val, bank, config.train.batch_size)
    return judge_of(config, classifier, bare)


def _train(
    system: Baseline,
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    judge: Judge,
    strength: float,
    progress: Progress,
) -> _Trained:
    began = time.monotonic()
    how, device = recipe(config, system), classifier.device
    parts = {"training": _part(system, splits), "val": splits.val, "test": splits.test}
    train, val, test = placed(parts, device, config.train.device_memory_gb, progress)
    name = config.baselines.objective or config.objective.name
    objective = replace(config.objective, name=name, strengths=(strength,))
    with torch.random.fork_rng(), progress.task(f"fit {NAMES[system]} {strength:g}", how.steps(len(train))) as task:
        torch.manual_seed(how.seed)
        model = _start(system, config, classifier)
        snapshot = train_weights(model, train, val, objective, how, judge, task, overlapping=config.data.groups_overlap)
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
    """The model before its first step, in a bundle of its own name; the frozen classifier stays as it is."""
    device = str(classifier.device)
    if system == "adv_in":
        assert config.base
        fresh = build_untrained(config.base.named(classifier.labels), config.model.bundle, classifier.device)
        return FrozenClassifier(_spec(fresh.spec, system), fresh.network, fresh.tokenizer, device)
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
    return spec.model_copy(update={"name": name, "loader": loader})


def _comparison(system: Baseline, strength: float, one: _Trained, *, chosen: bool) -> Comparison:
    return Comparison(
        system=system,
        setting=f"strength {strength:g}",
        counts={"val": one.snapshot.counts, "test": one.test},
        seconds=one.seconds,
        strength=strength,
        step=one.snapshot.step,
        chosen=chosen,
    )
