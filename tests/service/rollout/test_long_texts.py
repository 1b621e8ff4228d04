"""A trigger that leaves no room for the longest text is refused when it is activated, and at the next start."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.artifacts import manifest_for, text_trigger
from tests.service.live import predict, running, settings, swap
from tests.text_families import ENCODERS, POSITIONS, family_bundle
from triggers.artifact.artifact import TriggerArtifact, make_artifact
from triggers.model import FrozenClassifier, load_bundle
from triggers.store.artifact_gate import activate_version
from triggers.store.file_store import FileStore

LONG = "the house " * POSITIONS
NAMES = ("posts", "other")


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> list[FrozenClassifier]:
    tmp = tmp_path_factory.mktemp("models")
    return [load_bundle(family_bundle(tmp / name, ENCODERS["bert"], name, max_tokens=POSITIONS)) for name in NAMES]


def five_words(classifier: FrozenClassifier) -> TriggerArtifact:
    trigger = text_trigger("hard", tokens=5, matrix=classifier.embedding_matrix)
    facts = {
        "model": classifier.name,
        "model_fingerprint": classifier.fingerprint,
        "preprocessing_fingerprint": classifier.preprocessing_fingerprint,
    }
    return make_artifact(trigger, manifest_for(trigger, **facts))


def answers(client: httpx.Client) -> None:
    """Both models answer a long text and a short one beside it."""
    for name in NAMES:
        made = predict(client, name, [LONG, "good"])
        assert all(set(one["scores"]) == {"civil", "toxic"} for one in made) and made[0]["truncated"]


def test_it_is_refused_and_long_texts_are_answered(classifiers: list[FrozenClassifier], tmp_path: Path) -> None:
    with FileStore(tmp_path / "store") as store:
        store.publish(five_words(classifiers[0]), actor="test")
        with running(settings(tmp_path), store, classifiers) as client:
            refused = swap(client, "posts", "v1")
            assert refused.status_code == 422, refused.text
            detail = refused.json()["detail"]
            assert "256 tokens (text.max_tokens) and a trigger of 5" in detail and "the network has 256" in detail
            answers(client)


def test_a_stored_champion_that_does_not_fit_leaves_its_model_bare_and_the_others_serving(
    classifiers: list[FrozenClassifier], tmp_path: Path
) -> None:
    with FileStore(tmp_path / "store") as store:
        for classifier in classifiers:
            store.publish(five_words(classifier), actor="test")
        activate_version(store, "posts", 1, actor="test", reason="by somebody without the bundle")
        with running(settings(tmp_path), store, classifiers) as client:
            answers(client)
            state = client.get("/v1/models/posts/rollout").json()
            assert "a trigger of 5" in str(state)
