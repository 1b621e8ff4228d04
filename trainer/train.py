"""A whole run, from a configuration to published triggers: the trainer's only composition root.

prepare    open and split the data, fit the base classifier if it is missing, load and freeze it, decode
learn      train one trigger per strength, go on from a checkpoint, select on validation
compare    count the controls, train the baselines
publish    seal the artifacts, put the chosen ones into the store
report     metrics.json, model-card.md, report.html and its pictures
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from trainer.baselines.baselines import save_baselines, train_baselines
from trainer.baselines.controls import run_controls
from trainer.config.comparison_config import BaselinesConfig, ControlsConfig
from trainer.config.run_config import RunConfig
from trainer.data.dataset import Splits
from trainer.data.loader import DataLoader
from trainer.distributed import World
from trainer.evaluation.run_result import Outcome
from trainer.progress import Progress
from trainer.publish import Published, make_artifacts, publish, save_artifacts, signer_of
from trainer.report.cost import Stopwatch
from trainer.report.report import Material, write_report
from trainer.run_inputs import open_run
from trainer.training.trigger_training import train_triggers
from triggers.artifact.artifact import TriggerArtifact
from triggers.model.classifier import FrozenClassifier

CHECKPOINT = "checkpoint.safetensors"
TRIGGERS = "triggers"


@dataclass(frozen=True, eq=False)
class Finished:
    """Everything that a run made; `artifacts` are in the order of `outcome.candidates`."""

    classifier: FrozenClassifier
    outcome: Outcome
    artifacts: list[TriggerArtifact]
    published: list[Published]
    files: list[Path]


def train(
    config: RunConfig, out: Path, progress: Progress, *, fresh: bool = False, world: World | None = None
) -> Finished:
    """Run to the end and leave everything in folder `out`. A killed run goes on where it was, unless `fresh`.

    Of several processes the first publishes and reports; `out` is a folder that all of them see.
    Raises ConfigError, DataError, ModelError, ArtifactError or StoreError.
    """
    world = world or World()
    signer_of(config)  # a key that cannot be read is said now, not after the training
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / CHECKPOINT
    if fresh and world.first:
        for old in out.glob(f"{checkpoint.stem}*{checkpoint.suffix}"):
            old.unlink()
    watch = Stopwatch()
    with watch.phase("prepare"), world.first_goes_ahead():
        classifier, loader = open_run(config, out.parent / "data-cache", progress)
        splits = loader.splits(classifier)
    with watch.phase("learn"):
        outcome = train_triggers(_without_comparisons(config), classifier, splits, progress, checkpoint, world)
    if world.first:
        with watch.phase("compare"):
            outcome = compare(config, classifier, loader, splits, outcome, out, progress)
    classifier.verify()
    artifacts = make_artifacts(config, classifier, splits.tuning.identities, outcome)
    if not world.first:
        return Finished(classifier, outcome, artifacts, [], [])
    files = save_artifacts(out / TRIGGERS, outcome, artifacts)
    published = publish(config, outcome, artifacts)
    material = Material(config, classifier, outcome, artifacts, published, splits)
    files += write_report(out, material, watch, progress)
    return Finished(classifier, outcome, artifacts, published, files)


def compare(
    config: RunConfig,
    classifier: FrozenClassifier,
    loader: DataLoader,
    splits: Splits,
    outcome: Outcome,
    out: Path,
    progress: Progress,
) -> Outcome:
    """The outcome with its controls and baselines, whose models are saved in `out` where that is wanted."""
    controls = run_controls(config, classifier, splits, outcome, progress)
    if "adv_in" in config.baselines.systems:
        splits = replace(splits, base=loader.load(classifier, "base"))
    baselines = train_baselines(config, classifier, splits, progress)
    save_baselines(out, baselines, config, loader)
    return replace(outcome, comparisons=(*controls, *baselines.comparisons))


def _without_comparisons(config: RunConfig) -> RunConfig:
    """What decides the triggers: a checkpoint stays good when only what they are compared with changes."""
    return replace(config, baselines=BaselinesConfig(), controls=ControlsConfig())
