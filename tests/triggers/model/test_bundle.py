"""Bundles: every loader, and a clear refusal of each broken one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.bundles import image_bundle, text_bundle, torchvision_bundle
from triggers.errors import ModelError
from triggers.model import load_bundle
from triggers.model.bundle import read_spec


@pytest.mark.parametrize("make", [image_bundle, torchvision_bundle, text_bundle])
def test_every_loader_gives_the_same_weights_again(make: object, tmp_path: Path) -> None:
    folder = make(tmp_path)  # type: ignore[operator]
    assert load_bundle(folder).fingerprint == load_bundle(folder).fingerprint


def edit(folder: Path, **change: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": ["one"]}, "labels"),
        ({"labels": ["same", "same"]}, "differ"),
        ({"pos_label": 2}, "pos_label 2"),
        ({"modality": "text"}, "needs exactly the section"),
        ({"colour": "red"}, "colour"),
        ({"name": "../evil"}, "name"),
        ({"loader": {"kind": "pickle"}}, "pickle"),
        ({"loader": {"kind": "torchvision", "builder": "resnet0"}}, "resnet0"),
        ({"loader": {"kind": "factory", "target": "tests.bundles:nothing"}}, "nothing"),
        ({"loader": {"kind": "factory", "target": "tests.bundles:tokenizer"}}, "not a torch module"),
        ({"loader": {"kind": "torchvision", "builder": "resnet18"}}, "do not fit"),
        ({"image": {"size": 16, "mean": [0.5], "std": [0.25]}}, "3 numbers"),
    ],
)
def test_broken_bundles_say_what_to_mend(change: dict[str, object], reason: str, tmp_path: Path) -> None:
    folder = image_bundle(tmp_path)
    edit(folder, **change)
    with pytest.raises(ModelError, match=reason):
        load_bundle(folder)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.json is missing"):
        read_spec(tmp_path)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    folder = image_bundle(tmp_path)
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match="do not fit"):
        load_bundle(folder)


def test_the_fingerprint_sees_one_changed_weight(tmp_path: Path) -> None:
    folder = image_bundle(tmp_path)
    before = load_bundle(folder).fingerprint
    state = load_file(folder / "weights.safetensors")
    state["0.bias"][0] += 1e-6
    save_file(state, folder / "weights.safetensors")
    assert load_bundle(folder).fingerprint != before


def test_verify_notices_a_model_that_was_changed_in_memory(tmp_path: Path) -> None:
    classifier = load_bundle(image_bundle(tmp_path))
    classifier.verify()
    with torch.no_grad():
        next(classifier.network.parameters()).add_(1e-3)
    with pytest.raises(ModelError, match="changed"):
        classifier.verify()


def test_preprocessing_has_a_fingerprint_of_its_own(tmp_path: Path) -> None:
    folder = image_bundle(tmp_path)
    before = load_bundle(folder)
    edit(folder, image={"size": 16, "mean": [0.5] * 3, "std": [0.3] * 3})
    after = load_bundle(folder)
    assert after.fingerprint == before.fingerprint
    assert after.preprocessing_fingerprint != before.preprocessing_fingerprint
