"""A whole run, from a configuration to published triggers: the trainer's only composition root.

prepare    open and split the data, fit the base classifier if it is missing, load and freeze it, decode
learn      train one trigger per strength, go on from a checkpoint, select on validation
publish    seal the artifacts, put the chosen ones into the store
report     metrics.json, front.png, triggers.png
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.config import RunConfig
from trainer.crossfit import cross_fit
from trainer.learn import learn
from trainer.outcome import Outcome
from trainer.prepare import prepare
from trainer.progress import Progress
from trainer.publish import Published, make_artifacts, publish, save_artifacts
from trainer.report import write_report
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
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / CHECKPOINT
    if fresh and world.first:
        for old in out.glob(f"{checkpoint.stem}*{checkpoint.suffix}"):
            old.unlink()
    with world.first_goes_ahead():
        classifier, splits = prepare(config, out.parent / "data-cache", progress)
    train_all = cross_fit if config.select.folds > 1 else learn
    outcome = train_all(config, classifier, splits, progress, checkpoint, world)
    classifier.verify()
    artifacts = make_artifacts(config, classifier, splits.tuning.identities, outcome)
    if not world.first:
        return Finished(classifier, outcome, artifacts, [], [])
    files = save_artifacts(out / TRIGGERS, outcome, artifacts)
    published = publish(config, outcome, artifacts)
    files += write_report(out, config, classifier, outcome, published)
    return Finished(classifier, outcome, artifacts, published, files)
