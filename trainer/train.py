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

from trainer.baselines import save_baselines, train_baselines
from trainer.compared import BaselinesConfig, ControlsConfig
from trainer.config import RunConfig
from trainer.controls import run_controls
from trainer.cost import Stopwatch
from trainer.crossfit import train_triggers
from trainer.data import Splits
from trainer.load import DataLoader
from trainer.outcome import Outcome
from trainer.prepare import open_run
from trainer.progress import Progress
from trainer.publish import Published, make_artifacts, publish, save_artifacts, signer_of
from trainer.report import Material, write_report
from trainer.world import World
from triggers.artifact import TriggerArtifact
from triggers.classifier import FrozenClassifier

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
