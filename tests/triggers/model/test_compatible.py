"""Which artifacts a frozen classifier accepts, with real bundles of both modalities."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.artifacts import IMAGE_KINDS, TEXT_KINDS, artifact_for, image_trigger, manifest_for, text_artifact
from tests.bundles import image_bundle, text_bundle
from triggers.artifact.artifact import TriggerArtifact, check_compatible
from triggers.errors import ArtifactMismatch
from triggers.model import FrozenClassifier, load_bundle
from triggers.trigger.text import TextTrigger


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FrozenClassifier]:
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "image": load_bundle(image_bundle(folder / "image")),
        "other image": load_bundle(image_bundle(folder / "other", seed=1)),
        "text": load_bundle(text_bundle(folder / "text")),
    }


def test_an_artifact_fits_the_model_it_was_made_for(classifiers: dict[str, FrozenClassifier]) -> None:
    for name, kind in [*(("image", kind) for kind in IMAGE_KINDS), *(("text", kind) for kind in TEXT_KINDS)]:
        check_compatible(artifact_for(classifiers[name], kind), classifiers[name])


def test_another_model_is_a_mismatch_that_names_both(classifiers: dict[str, FrozenClassifier]) -> None:
    mine, other = classifiers["image"], classifiers["other image"]
    with pytest.raises(ArtifactMismatch) as caught:
        check_compatible(artifact_for(mine, "border"), other)
    assert mine.fingerprint in str(caught.value)
    assert other.fingerprint in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"preprocessing_fingerprint": "sha256:" + "2" * 64}, "preprocessing fingerprint sha256:2222"),
        ({"labels": ("attractive", "plain")}, "labels"),
        ({"pos_label": 0}, "pos_label 0"),
    ],
)
def test_other_papers_are_a_mismatch(
    classifiers: dict[str, FrozenClassifier], change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ArtifactMismatch, match=reason):
        check_compatible(artifact_for(classifiers["image"], "border", **change), classifiers["image"])


def refitted(artifact: TriggerArtifact, classifier: FrozenClassifier) -> TriggerArtifact:
    """The artifact with papers that claim to be for a classifier."""
    facts = {
        "model_fingerprint": classifier.fingerprint,
        "preprocessing_fingerprint": classifier.preprocessing_fingerprint,
        "labels": classifier.labels,
    }
    return dataclasses.replace(artifact, manifest=artifact.manifest.model_copy(update=facts))


def test_a_shape_the_network_cannot_take_is_a_mismatch(classifiers: dict[str, FrozenClassifier]) -> None:
    trigger = image_trigger("border", size=20)
    small = TriggerArtifact(trigger, manifest_for(trigger), "")
    with pytest.raises(ArtifactMismatch, match=r"\(3, 20, 20\)"):
        check_compatible(refitted(small, classifiers["image"]), classifiers["image"])
    with pytest.raises(ArtifactMismatch, match="width 8"):
        check_compatible(refitted(text_artifact("soft"), classifiers["text"]), classifiers["text"])


def test_a_hard_trigger_must_have_the_embeddings_of_its_words(classifiers: dict[str, FrozenClassifier]) -> None:
    classifier = classifiers["text"]
    sound = artifact_for(classifier, "hard")
    assert isinstance(sound.trigger, TextTrigger)
    for ids, reason in (((0, 1, 2), "not the model's embeddings"), ((5, 6, 10_000), "10000 is beyond")):
        forged = dataclasses.replace(sound, trigger=dataclasses.replace(sound.trigger, token_ids=ids))
        with pytest.raises(ArtifactMismatch, match=reason):
            check_compatible(forged, classifier)
