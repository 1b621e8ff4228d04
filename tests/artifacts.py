"""Small real artifacts of every kind for tests, made by the trainable modules themselves."""

from __future__ import annotations

from typing import Any

import torch

from tests.bundles import SIZE
from triggers.artifact.artifact import TriggerArtifact, make_artifact
from triggers.artifact.manifest import EvaluationCell, Manifest, ObjectiveRecord, Provenance
from triggers.artifact.manifest_checks import geometry_of, value_range_of
from triggers.artifact.selection_record import SelectionRecord
from triggers.model.classifier import FrozenClassifier, Trigger
from triggers.trigger.image_trainable import build_image_module
from triggers.trigger.text_trainable import build_text_module

FINGERPRINT = "sha256:" + "0123456789abcdef" * 4
IMAGE_KINDS: dict[str, dict[str, Any]] = {
    "border": {"width": 2},
    "patch": {"patch_size": 5},
    "overlay": {"epsilon": 0.125},
    "pixels": {"fraction": 0.25},
}
TEXT_KINDS = ("hard", "soft", "embedding")
PROVENANCE = Provenance(
    created_at="2026-01-02T03:04:05Z", created_by="test", code_version="0", device="cpu", duration_seconds=1.5
)


def image_trigger(
    kind: str = "border", seed: int = 0, channels: int = 3, size: int | tuple[int, int] = SIZE
) -> Trigger:
    """An untrained image trigger."""
    return build_image_module(kind, count=1, channels=channels, size=size, seed=seed, **IMAGE_KINDS[kind]).export()[0]


def text_trigger(kind: str = "hard", seed: int = 0, tokens: int = 3, matrix: torch.Tensor | None = None) -> Trigger:
    """An untrained text trigger over the given word embeddings (V, D), or over random ones."""
    matrix = torch.randn(40, 8, generator=torch.Generator().manual_seed(99)) if matrix is None else matrix
    vocabulary = [f"word{i}" for i in range(len(matrix))]
    allowed = torch.ones(len(matrix), dtype=torch.bool)
    options = {"count": 1, "tokens": tokens, "position": "after_cls", "seed": seed}
    module = build_text_module(kind, matrix=matrix, vocabulary=vocabulary, allowed=allowed, **options)  # type: ignore[arg-type]
    return module.export()[0]


def manifest_for(trigger: Trigger, **change: Any) -> Manifest:
    """A complete manifest for a trigger, with any field replaced."""
    image = trigger.kind in IMAGE_KINDS
    geometry = geometry_of(trigger) | (IMAGE_KINDS[trigger.kind] if image else {})
    fields: dict[str, Any] = {
        "model": "faces" if image else "posts",
        "modality": "image" if image else "text",
        "kind": trigger.kind,
        "geometry": geometry,
        "value_range": value_range_of(trigger),
        "model_fingerprint": FINGERPRINT,
        "preprocessing_fingerprint": FINGERPRINT,
        "labels": ("plain", "attractive") if image else ("civil", "toxic"),
        "pos_label": 1,
        "groups": ("f", "m"),
        "objective": ObjectiveRecord(name="gap", criterion="demographic_parity", strength=5.0),
        "seed": 0,
        "steps": 10,
        "evaluation": evaluation(),
        "words": getattr(trigger, "words", None),
        "provenance": PROVENANCE,
    }
    return Manifest(**(fields | change))


def evaluation() -> tuple[EvaluationCell, ...]:
    """Counts of 200 rows per split: selection rates .75 and .25 bare, .55 and .45 under the trigger."""
    counts = {False: {"f": (25, 25, 0, 50), "m": (50, 0, 25, 25)}, True: {"f": (40, 10, 5, 45), "m": (30, 20, 25, 25)}}
    return tuple(
        EvaluationCell(split=split, trigger=trigger, group=group, label=label, prediction=prediction, count=count)
        for split in ("val", "test")
        for trigger, groups in counts.items()
        for group, cells in groups.items()
        for (label, prediction), count in zip(((0, 0), (0, 1), (1, 0), (1, 1)), cells, strict=True)
    )


def selection(**change: Any) -> SelectionRecord:
    """A certified selection, with any field replaced."""
    fields: dict[str, Any] = {
        "status": "certified",
        "measure": "balanced_accuracy",
        "budget": 0.01,
        "delta": 0.1,
        "rows": 2500,
        "loss": 0.003,
        "bound": 0.008,
        "min_recall_ratio": 0.8,
        "lowest_recall_ratio": 0.93,
        "lowest_recall": "attractive, m",
        "reason": "The test passed.",
    }
    return SelectionRecord(**(fields | change))


def image_artifact(kind: str = "border", seed: int = 0, model: str = "faces", **change: Any) -> TriggerArtifact:
    """A sound image artifact; another seed gives another digest."""
    trigger = image_trigger(kind, seed)
    return make_artifact(trigger, manifest_for(trigger, model=model, seed=seed, **change))


def text_artifact(kind: str = "hard", seed: int = 0, model: str = "posts", **change: Any) -> TriggerArtifact:
    """A sound text artifact."""
    trigger = text_trigger(kind, seed)
    return make_artifact(trigger, manifest_for(trigger, model=model, seed=seed, **change))


def artifact_for(classifier: FrozenClassifier, kind: str, seed: int = 0, **change: Any) -> TriggerArtifact:
    """A sound artifact that is compatible with a classifier."""
    image = classifier.spec.image
    if image:
        trigger = image_trigger(kind, seed, image.channels, (image.height, image.width))
    else:
        trigger = text_trigger(kind, seed, matrix=classifier.embedding_matrix.float())
    facts = {
        "model": classifier.name,
        "model_fingerprint": classifier.fingerprint,
        "preprocessing_fingerprint": classifier.preprocessing_fingerprint,
        "labels": classifier.labels,
        "pos_label": classifier.pos_label,
        "scoring": classifier.spec.fingerprint_fields(),
        "seed": seed,
    }
    return make_artifact(trigger, manifest_for(trigger, **(facts | change)))
