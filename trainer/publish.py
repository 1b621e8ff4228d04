"""Publishing: trained triggers to artifacts, and the chosen ones into the store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trainer.config import RunConfig, to_dict
from trainer.evaluation import Candidate, TrainingResult
from trainer.evaluation.counts import ConfusionCounts
from triggers.artifact.artifact import TriggerArtifact, make_artifact, save_artifact
from triggers.artifact.manifest import DataCount, EvaluationCell, Manifest, ObjectiveRecord, Provenance
from triggers.artifact.manifest_checks import geometry_of, value_range_of
from triggers.artifact.signature import Signer, read_signer
from triggers.errors import DataError
from triggers.model import FrozenClassifier
from triggers.rollout.rollout_history import timestamp
from triggers.store import open_store
from triggers.trigger import ImageTrigger

STORE_VARIABLE, DEFAULT_STORE = "FAIRTRIGGER_STORE", "fairtrigger-store"


@dataclass(frozen=True)
class Published:
    """A published candidate: its version and digest in the store."""

    strength: float
    version: int
    digest: str


def make_artifacts(
    config: RunConfig, classifier: FrozenClassifier, group_names: tuple[str, ...], result: TrainingResult
) -> list[TriggerArtifact]:
    """One artifact per candidate, in their order, sealed, and signed if there is a key.

    The digests depend on the training alone, not on the day.

    `group_names` are the data's identities, which are its groups unless groups overlap.
    """
    manifests = (_manifest(config, classifier, group_names, result, candidate) for candidate in result.candidates)
    sealed = [make_artifact(one.trigger, manifest) for one, manifest in zip(result.candidates, manifests, strict=True)]
    signer = signer_of(config)
    return [replace(each, signature=signer.sign(each.digest)) for each in sealed] if signer else sealed


def signer_of(config: RunConfig) -> Signer | None:
    """The signer of the triggers; None without a key. Raises ConfigError for a key that cannot be read."""
    return read_signer(config.publish.signing_key) if config.publish.signing_key else None


def save_artifacts(folder: Path, result: TrainingResult, artifacts: Sequence[TriggerArtifact]) -> list[Path]:
    """Write every artifact into `folder`, published or not, named after its strength; deletes those of other runs."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("strength-*.safetensors"):
        old.unlink()
    paths = [folder / f"strength-{candidate.strength:g}.safetensors" for candidate in result.candidates]
    for path, artifact in zip(paths, artifacts, strict=True):
        save_artifact(artifact, path)
    return paths


def publish(config: RunConfig, result: TrainingResult, artifacts: Sequence[TriggerArtifact]) -> list[Published]:
    """Put the candidates that [select] asks for into the store; the same training again adds no version.

    Raises StoreError or ConfigError.
    """
    chosen = chosen_candidates(config, result)
    if not chosen or not config.publish.enabled:
        return []
    done = []
    with open_store(store_url(config)) as store:
        for at in chosen:
            strength, artifact = result.candidates[at].strength, artifacts[at]
            reason = f"strength {strength:g}" + (", best on validation" if at == result.best else "")
            number = store.publish(artifact, actor=config.publish.actor, reason=reason)
            done.append(Published(strength, number, artifact.digest))
    return done


def chosen_candidates(config: RunConfig, result: TrainingResult) -> list[int]:
    """Indices of the candidates that [select] asks to publish, in the order of the strengths."""
    if config.select.publish == "all":
        return list(range(len(result.candidates)))
    best = set() if result.best is None else {result.best}
    return sorted(best | set(result.front) if config.select.publish == "front" else best)


def store_url(config: RunConfig) -> str:
    """The store's address: the configuration's, else the environment's, as `fairtrigger` takes it, else a folder.

    A folder that the configuration names starts from its file's folder.
    """
    told = os.environ.get(STORE_VARIABLE)
    if told and not config.publish.store:
        return told
    store = config.publish.store or DEFAULT_STORE
    return store if "://" in store else str(config.root / Path(store).expanduser())


def _manifest(
    config: RunConfig,
    classifier: FrozenClassifier,
    group_names: tuple[str, ...],
    result: TrainingResult,
    candidate: Candidate,
) -> Manifest:
    trigger, objective = candidate.trigger, config.objective
    return Manifest(
        model=classifier.name,
        modality="image" if isinstance(trigger, ImageTrigger) else "text",
        kind=trigger.kind,
        geometry=config.trigger.geometry() | geometry_of(trigger),
        value_range=value_range_of(trigger),
        model_fingerprint=classifier.fingerprint,
        preprocessing_fingerprint=classifier.preprocessing_fingerprint,
        labels=classifier.labels,
        pos_label=classifier.pos_label,
        scoring=classifier.spec.fingerprint_fields(),
        groups=group_names,
        groups_overlap=config.data.groups_overlap,
        objective=ObjectiveRecord(name=objective.name, criterion=objective.criterion, strength=candidate.strength),
        seed=config.train.seed,
        steps=candidate.step,
        data_counts=tuple(
            DataCount(split=split, group=group, label=label, count=count)
            for split, cells in result.data_counts.items()
            for (group, label), count in cells.items()
        ),
        evaluation=(*_cells(result.bare, trigger=False), *_cells(candidate.counts, trigger=True)),
        words=None if isinstance(trigger, ImageTrigger) else trigger.words,
        selection=candidate.selection,
        provenance=_provenance(config, result),
    )


def _cells(splits: Mapping[str, ConfusionCounts], *, trigger: bool) -> list[EvaluationCell]:
    cells = []
    for split, counts in splits.items():
        for (group, label, prediction), count in sorted(counts.items()):
            if label is None:
                raise DataError(f"A row of group {group!r} was evaluated without a label; training data needs labels.")
            cells.append(
                EvaluationCell(
                    split=split, trigger=trigger, group=group, label=label, prediction=prediction, count=count
                )
            )
    return cells


def _provenance(config: RunConfig, result: TrainingResult) -> Provenance:
    return Provenance(
        created_at=timestamp(datetime.now(UTC)),
        created_by=config.publish.actor,
        code_version=code_version(),
        device=result.device,
        duration_seconds=result.seconds,
        config=to_dict(config),
    )


def code_version() -> str:
    """The installed release of this project."""
    try:
        return version("fairtrigger")
    except PackageNotFoundError:
        return "not installed"
