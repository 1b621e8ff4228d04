"""An image trigger that nobody trained, as an artifact that a store takes: what serving benchmarks publish."""

from __future__ import annotations

from triggers.artifact.artifact import TriggerArtifact, make_artifact
from triggers.artifact.manifest import Manifest, ObjectiveRecord, Provenance
from triggers.artifact.manifest_checks import geometry_of, value_range_of
from triggers.model import FrozenClassifier
from triggers.trigger import ImageTrigger


def sealed(trigger: ImageTrigger, classifier: FrozenClassifier, **sizes: int) -> TriggerArtifact:
    """The artifact of a trigger for this classifier; `sizes` are what its kind is stated with beside its geometry."""
    manifest = Manifest(
        model=classifier.name,
        modality="image",
        kind=trigger.kind,
        geometry=geometry_of(trigger) | sizes,
        value_range=value_range_of(trigger),
        model_fingerprint=classifier.fingerprint,
        preprocessing_fingerprint=classifier.preprocessing_fingerprint,
        labels=classifier.labels,
        pos_label=classifier.pos_label,
        groups=("a", "b"),
        objective=ObjectiveRecord(name="gap", criterion="demographic_parity", strength=1.0),
        seed=0,
        steps=0,
        provenance=Provenance(
            created_at="2026-01-01T00:00:00Z",
            created_by="benchmark",
            code_version="0",
            device="cpu",
            duration_seconds=0,
        ),
    )
    return make_artifact(trigger, manifest)
