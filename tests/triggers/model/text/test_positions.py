"""Positions of text networks, found by what they look up, and texts that would not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.artifacts import manifest_for, text_trigger
from tests.text_families import DECODERS, ENCODERS, POSITIONS, family_bundle
from triggers.artifact.artifact import check_compatible, make_artifact
from triggers.errors import ArtifactMismatch, ModelError
from triggers.model import load_bundle

FAMILIES = ENCODERS | DECODERS
NO_TABLE = {"deberta-v2", "xlnet", "llama", "qwen2", "mistral", "gemma3_text"}


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_of_a_network(family: str, tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, FAMILIES[family]))
    padding_idx = classifier.tokenizer.pad_token_id
    table = POSITIONS - padding_idx - 1 if family == "roberta" else POSITIONS
    assert classifier.max_positions == (None if family in NO_TABLE else table)


def test_a_bundle_whose_texts_do_not_fit_is_refused(tmp_path: Path) -> None:
    load_bundle(family_bundle(tmp_path / "fits", ENCODERS["bert"], max_tokens=POSITIONS))
    with pytest.raises(ModelError, match=f"257 tokens .* the network has {POSITIONS}: lower text.max_tokens to 256"):
        load_bundle(family_bundle(tmp_path / "long", ENCODERS["bert"], max_tokens=POSITIONS + 1))


def test_a_trigger_that_leaves_no_room_for_the_longest_text_is_a_mismatch(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, ENCODERS["bert"], max_tokens=POSITIONS - 4))
    for tokens in (4, 5):
        trigger = text_trigger("hard", tokens=tokens, matrix=classifier.embedding_matrix)
        facts = {
            "model": classifier.name,
            "model_fingerprint": classifier.fingerprint,
            "preprocessing_fingerprint": classifier.preprocessing_fingerprint,
        }
        artifact = make_artifact(trigger, manifest_for(trigger, **facts))
        if tokens == 4:
            check_compatible(artifact, classifier)
            continue
        reason = r"trigger of 5 need 257 positions, the network has 256: lower text.max_tokens to 251"
        with pytest.raises(ArtifactMismatch, match=reason):
            check_compatible(artifact, classifier)
