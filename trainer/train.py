"""A whole run, from a configuration to published triggers: the trainer's only composition root.

prepare    open and split the data, fit the base classifier if it is missing, load and freeze it, decode
learn      find strengths that are open, train a trigger for each, go on from a checkpoint, select on validation
compare    count the controls, train the baselines
publish    seal the artifacts, put the chosen ones into the store
report     metrics.json, model-card.md, report.html and its pictures
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from trainer.baselines import (
    fit_base,
    refuse_overlap,
    run_controls,
    run_postprocessing,
    save_baselines,
    train_baselines,
)
from trainer.config import RunConfig
from trainer.config.comparison_config import BaselinesConfig, ControlsConfig
from trainer.data import DataLoader, Splits
from trainer.distributed import ProcessGroup, deterministic_algorithms
from trainer.evaluation import TrainingResult
from trainer.evaluation.selection import require_known_names
from trainer.progress import Progress, open_tracking
from trainer.publish import Published, make_artifacts, publish, save_artifacts, signer_of
from trainer.queries import LEFT_OUT, meter_of, open_answers, with_gradient
from trainer.report import ReportInputs, Stopwatch, write_report
from trainer.training import train_triggers
from triggers.artifact.artifact import TriggerArtifact
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.bundle import SPEC_FILE, read_spec


def prepare_data(config: RunConfig, cache: Path, progress: Progress) -> tuple[FrozenClassifier, Splits]:
    """The frozen classifier and its decoded tuning, val and test parts. Arguments and errors as for `open_run`."""
    classifier, loader = open_run(config, cache, progress)
    return classifier, loader.splits(classifier)


def open_run(config: RunConfig, cache: Path, progress: Progress) -> tuple[FrozenClassifier, DataLoader]:
    """Open the data, fit the base classifier if its bundle is missing, load it.

    `cache` is the folder for decoded data. Raises ConfigError, DataError or ModelError.
    """
    device = pick_device(config.train.device)
    loader = open_data(config, cache, progress)
    if not (config.model.bundle / SPEC_FILE).exists():
        with deterministic_algorithms(device, config.train.threads):
            fit_base(config, loader, device, progress)
    return load_bundle(config.model.bundle, str(device)), loader


def open_data(config: RunConfig, cache: Path, progress: Progress) -> DataLoader:
    """Open and split the data, labelled as the bundle says, or [base] where there is none. Errors as for `open_run`."""
    folder = config.model.bundle
    if (folder / SPEC_FILE).exists():
        spec = read_spec(folder)
        if spec.modality != config.modality:
            wanted = f"trigger.kind {config.trigger.kind!r} works on {config.modality}s"
            raise ConfigError(f"{folder} is a model of {spec.modality}s, but {wanted}.")
        loader = DataLoader(config, spec.labels, cache, progress)
        refuse_overlap(folder, loader)
        return loader
    if config.base:
        return DataLoader(config, config.base.labels, cache, progress)
    raise ConfigError(f"{folder} is no model bundle. Set model.bundle to one, or add [base] to fit one.")


def pick_device(wanted: str) -> torch.device:
    """`auto` is the GPU if there is one. Raises ConfigError for a GPU that is not there."""
    present = torch.cuda.is_available()
    if wanted == "cuda" and not present:
        raise ConfigError('train.device is "cuda", but torch sees no GPU; use "auto" or "cpu".')
    return torch.device("cuda" if present and wanted != "cpu" else "cpu")


CHECKPOINT = "checkpoint.safetensors"

TRIGGERS = "triggers"

DATA_CACHE = "data-cache"
"""Folder beside the output folders of runs: decoded data, and digests of it."""


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """Everything that a run made; `artifacts` are in the order of `result.candidates`."""

    classifier: FrozenClassifier
    result: TrainingResult
    artifacts: list[TriggerArtifact]
    published: list[Published]
    files: list[Path]


def train(
    config: RunConfig, out: Path, progress: Progress, *, fresh: bool = False, process_group: ProcessGroup | None = None
) -> FinishedRun:
    """Run everything and write it into folder `out`. A killed run goes on from its checkpoint, unless `fresh`;
    the answers of an endpoint are kept either way.

    The main process publishes and reports; `out` is a folder that all processes see.
    Raises ConfigError, DataError, ModelError, ArtifactError or StoreError.
    """
    with ExitStack() as opened:
        return _train(config, out, progress, opened, process_group or ProcessGroup(), fresh=fresh)


def _train(
    config: RunConfig, out: Path, progress: Progress, opened: ExitStack, process_group: ProcessGroup, *, fresh: bool
) -> FinishedRun:
    signer_of(config)  # refuse a key that cannot be read now, not after the training
    out.mkdir(parents=True, exist_ok=True)
    if process_group.is_main_process:
        opened.enter_context(open_tracking(config, out, progress, fresh=fresh))
    checkpoint = out / CHECKPOINT
    if fresh and process_group.is_main_process:
        for old in out.glob(f"{checkpoint.stem}*{checkpoint.suffix}"):
            old.unlink()
    watch = Stopwatch()
    with watch.phase("prepare"), process_group.main_process_first():
        classifier, loader = open_run(config, out.parent / DATA_CACHE, progress)
        config = with_gradient(config, classifier.spec, process_group.size)
        asked = opened.enter_context(open_answers(config, classifier, out))
        splits = loader.splits(classifier)
        require_known_names(config.select, classifier.labels, splits.tuning.identities)
    with watch.phase("learn"):
        result = train_triggers(_without_comparisons(config), asked, splits, progress, checkpoint, process_group)
    if process_group.is_main_process:
        with watch.phase("compare"):
            result = run_comparisons(_with_strengths(config, result), asked, loader, splits, result, out, progress)
    classifier.verify()
    artifacts = make_artifacts(config, classifier, splits.tuning.identities, result)
    if not process_group.is_main_process:
        return FinishedRun(classifier, result, artifacts, [], [])
    files = save_artifacts(out / TRIGGERS, result, artifacts)
    published = publish(config, result, artifacts)
    inputs = ReportInputs(config, asked, result, artifacts, published, splits)
    files += write_report(out, inputs, watch, progress)
    if progress.tracker:
        progress.tracker.log_result(out, files)
    return FinishedRun(classifier, result, artifacts, published, files)


def run_comparisons(
    config: RunConfig,
    classifier: FrozenClassifier,
    loader: DataLoader,
    splits: Splits,
    result: TrainingResult,
    out: Path,
    progress: Progress,
) -> TrainingResult:
    """The result with its controls and baselines, whose models are saved in `out` if [baselines] says so."""
    meter = meter_of(classifier)
    if meter:
        result = replace(result, notes=(*result.notes, LEFT_OUT))
    controls = run_controls(config, classifier, splits, result, progress)
    if "adv_in" in config.baselines.systems:
        splits = replace(splits, base=loader.load(classifier, "base"))
    rules = run_postprocessing(config, classifier, splits, result, progress)
    rules.save(out)
    baselines = train_baselines(config, classifier, splits, progress)
    save_baselines(out, baselines, config, loader)
    if meter and result.queries:  # rules ask for tuning rows that learning did not need
        result = replace(result, queries={**result.queries, **meter.record()})
    comparisons = (*controls, *rules.comparisons, *baselines.comparisons)
    return replace(result, comparisons=comparisons, notes=(*result.notes, *rules.notes)).against_rivals()


def _with_strengths(config: RunConfig, result: TrainingResult) -> RunConfig:
    """The configuration with the strengths that the run trained, which it may have left open."""
    strengths = tuple(candidate.strength for candidate in result.candidates)
    return replace(config, objective=replace(config.objective, strengths=strengths))


def _without_comparisons(config: RunConfig) -> RunConfig:
    """The configuration that decides the triggers: a checkpoint stays good when only comparisons change."""
    return replace(config, baselines=BaselinesConfig(), controls=ControlsConfig(postprocessing=False))
