"""Manifests: what they refuse, and what they give to the fairness figures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.artifacts import FINGERPRINT, image_artifact, image_trigger, manifest_for
from triggers.artifact.artifact import load_artifact, to_bytes
from triggers.artifact.manifest import DataCount, Manifest, check_model_name
from triggers.errors import ConfigError
from triggers.fingerprint import json_digest


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format"),
        ({"labels": ("only",)}, "labels"),
        ({"pos_label": 2}, "label index 2"),
        ({"data_counts": (DataCount(split="train", group="f", label=5, count=1),)}, "label index 5"),
        ({"value_range": (1.0, 0.0)}, "upside down"),
        ({"value_range": (0.0, float("nan"))}, "value_range"),
        ({"steps": -1}, "steps"),
        ({"model_fingerprint": FINGERPRINT.upper()}, "model_fingerprint"),
        ({"modality": "sound"}, "modality"),
        ({"model": "a" * 65}, "model"),
        ({"model": "faces\n"}, "model"),
        ({"groups_overlap": True, "groups": ("f", "x")}, r"rows of \['m'\] are counted"),
    ],
)
def test_a_wrong_manifest_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        manifest_for(image_trigger(), **change)


def test_a_manifest_survives_json_strictly() -> None:
    manifest = manifest_for(image_trigger("overlay"))
    again = Manifest.model_validate_json(manifest.model_dump_json(), strict=True)
    assert again == manifest
    assert again.content() == manifest.content()


def test_groups_that_do_not_overlap_go_unsaid() -> None:
    """So that artifacts made before groups could overlap keep the digest that they were published under."""
    manifest = manifest_for(image_trigger())
    assert "groups_overlap" not in manifest.model_dump_json()
    assert json_digest(manifest.content()) == (
        "sha256:fe56c457cac6e565d23d2f90216da0e717a686521b12d8169320e45ce78f79e8"
    )


def test_overlapping_groups_are_said_and_change_the_digest() -> None:
    artifact = image_artifact(groups_overlap=True)
    assert artifact.manifest.content()["groups_overlap"] is True
    assert load_artifact(to_bytes(artifact)).manifest.groups_overlap
    assert artifact.digest != image_artifact().digest


def test_counts_of_one_split_with_or_without_the_trigger() -> None:
    manifest = manifest_for(image_trigger())
    counts = manifest.counts("val", trigger=True)
    assert counts["f", 0, 0] == 40
    assert sum(counts.values()) == 200
    assert manifest.counts("val", trigger=False)["f", 0, 0] == 25
    assert manifest.counts("train", trigger=True) == {}


@settings(deadline=None)
@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True))
def test_every_allowed_name_passes_both_checks(name: str) -> None:
    assert check_model_name(name) == name
    assert manifest_for(image_trigger(), model=name).model == name


@settings(deadline=None)
@given(st.text(max_size=70).filter(lambda name: not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")))
def test_no_other_name_passes_either(name: str) -> None:
    with pytest.raises(ConfigError):
        check_model_name(name)
    with pytest.raises(ValidationError):
        manifest_for(image_trigger(), model=name)
