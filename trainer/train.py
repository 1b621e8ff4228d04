"""A whole run, from a configuration to published triggers: the trainer's only composition root.

prepare    open and split the data, fit the base classifier if it is missing, load and freeze it, decode
learn      train one trigger per strength, go on from a checkpoint, select on validation
publish    seal the artifacts, put the chosen ones into the store
report     metrics.json, model-card.md, report.html and its pictures
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.config import RunConfig
from trainer.cost import Stopwatch
from trainer.learn import learn
from trainer.outcome import Outcome
from trainer.prepare import prepare
from trainer.progress import Progress
from trainer.publish import Published, make_artifacts, publish, save_artifacts
from trainer.report import Material, write_report
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


def train(config: RunConfig, out: Path, progress: Progress, *, fresh: bool = False) -> Finished:
    """Run to the end and leave everything in folder `out`. A killed run goes on where it was, unless `fresh`.

    Raises ConfigError, DataError, ModelError, ArtifactError or StoreError.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / CHECKPOINT
    if fresh:
        checkpoint.unlink(missing_ok=True)
    watch = Stopwatch()
    with watch.phase("prepare"):
        classifier, splits = prepare(config, out.parent / "data-cache", progress)
    with watch.phase("learn"):
        outcome = learn(config, classifier, splits, progress, checkpoint)
    classifier.verify()
    artifacts = make_artifacts(config, classifier, splits.tuning.group_names, outcome)
    files = save_artifacts(out / TRIGGERS, outcome, artifacts)
    published = publish(config, outcome, artifacts)
    material = Material(config, classifier, outcome, artifacts, published, splits)
    files += write_report(out, material, watch, progress)
    return Finished(classifier, outcome, artifacts, published, files)
