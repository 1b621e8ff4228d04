"""A source is written as a bundle only if that answers as the source does, and never in part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.bundles import tiny_network
from triggers.errors import ModelError
from triggers.model import load_bundle
from triggers.model.bundle import BundleSpec, ComparisonRecord, read_spec
from triggers.sources import ModelSource, WrapOptions, read_source, write_source_bundle
from triggers.sources.oracles import Oracle, RawInput

IMAGE = {"size": 16, "mean": [0.5] * 3, "std": [0.25] * 3}
OPTIONS = WrapOptions(labels=("plain", "attractive"), image=IMAGE)


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    torch.manual_seed(0)
    save_file(tiny_network().state_dict(), tmp_path / "w.safetensors")
    return read_source("tests.bundles:tiny_network", replace(OPTIONS, weights=tmp_path / "w.safetensors"))


def shifted(source: ModelSource, by: float) -> ModelSource:
    """The source, whose pipeline gives other scores than its network."""

    def scores(data: RawInput) -> Sequence[float]:
        first, second = source.oracle.scores(data)
        return first - by, second + by

    return replace(source, oracle=Oracle("another pipeline", scores))


def test_a_bundle_that_answers_otherwise_is_not_written(source: ModelSource, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"0 of 24 labels differ from another pipeline, scores by up to 0\.0002.*--acc"
    ):
        write_source_bundle(shifted(source, 2e-4), tmp_path / "bundle", OPTIONS)
    with pytest.raises(ModelError, match=r"[1-9]\d* of 24 labels differ"):
        write_source_bundle(shifted(source, -0.9), tmp_path / "bundle", OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
    spec = write_source_bundle(shifted(source, 5e-5), tmp_path / "bundle", OPTIONS)
    assert spec.comparison and spec.comparison.largest_difference == pytest.approx(5e-5, rel=0.1)


def test_a_difference_that_is_accepted_is_in_the_bundle(source: ModelSource, tmp_path: Path) -> None:
    write_source_bundle(shifted(source, 2e-4), tmp_path / "bundle", OPTIONS, accept_difference=True)
    record = read_spec(tmp_path / "bundle").comparison
    assert record and record.accepted and record.largest_difference > 1e-4
    write_source_bundle(source, tmp_path / "same", OPTIONS, accept_difference=True)
    record = read_spec(tmp_path / "same").comparison
    assert record and not record.accepted
    assert load_bundle(tmp_path / "same").fingerprint == load_bundle(tmp_path / "bundle").fingerprint


def test_a_folder_that_exists_is_left_alone(source: ModelSource, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with pytest.raises(ModelError, match="exists already; choose another with --out"):
        write_source_bundle(source, tmp_path / "bundle", OPTIONS)
    assert list((tmp_path / "bundle").iterdir()) == []


def test_a_source_that_fails_half_way_leaves_nothing(source: ModelSource, tmp_path: Path) -> None:
    def copy(bundle: Path) -> None:
        source.copy(bundle)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_source_bundle(replace(source, copy=copy), tmp_path / "bundle", OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"threshold": 1.5}, "threshold"), ({"labels": ("a", "a")}, "labels must differ")],
)
def test_what_no_bundle_can_say_is_refused_in_one_line(
    options: dict[str, Any], reason: str, source: ModelSource, tmp_path: Path
) -> None:
    said = replace(OPTIONS, **options)
    with pytest.raises(ModelError, match=reason) as refusal:
        write_source_bundle(replace(source, labels=said.labels or ()), tmp_path / "bundle", said)
    assert "\n" not in str(refusal.value)


def test_a_name_is_made_of_any_text(source: ModelSource, tmp_path: Path) -> None:
    assert write_source_bundle(source, tmp_path / "a", replace(OPTIONS, name="My Model!")).name == "my-model"


@pytest.mark.parametrize("word", ["nothing", "https://example.org/model", "a/b.onnx", "torchvision:no_such_network"])
def test_an_unknown_source_is_refused_in_one_line(word: str) -> None:
    with pytest.raises(ModelError) as refusal:
        read_source(word, OPTIONS)
    assert "\n" not in str(refusal.value) and word.removeprefix("torchvision:") in str(refusal.value)


def test_a_record_of_old_has_no_spread(source: ModelSource, tmp_path: Path) -> None:
    spec = write_source_bundle(source, tmp_path / "a", OPTIONS)
    assert spec.comparison
    old = spec.comparison.model_dump(exclude={"spread"})
    assert ComparisonRecord.model_validate(old).spread is None
    BundleSpec.model_validate(spec.model_dump() | {"comparison": old})
