"""Sizes of image steps against the functions of the libraries that they follow, and steps that cannot be had."""

from __future__ import annotations

import re
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.functional import _compute_resized_output_size
from transformers.image_transforms import get_resize_output_image_size

from tests.bundles import oblong_bundle
from triggers.errors import ModelError
from triggers.model.bundle import SPEC_FILE, read_spec
from triggers.preprocessing import image_spec
from triggers.preprocessing.image_spec import CenterCrop, Fit, ImageSpec, Pad, Resize

LENGTHS = st.integers(1, 3000)
EDGES = st.integers(1, 900)
MEAN, STD = (0.5,) * 3, (0.25,) * 3


def spec(height: int, width: int, *steps: Any) -> ImageSpec:
    return ImageSpec(height, width, MEAN, STD, steps)


@given(LENGTHS, LENGTHS, EDGES)
def test_a_shorter_edge_is_torchvisions_and_transformers(height: int, width: int, edge: int) -> None:
    found = Resize(shorter_edge=edge).target(height, width)
    assert [*found] == _compute_resized_output_size((height, width), [edge])
    empty = np.empty((3, height, width), dtype=np.bool_)
    assert found == get_resize_output_image_size(
        empty, edge, default_to_square=False, input_data_format="channels_first"
    )


@given(LENGTHS, LENGTHS, EDGES, EDGES)
def test_a_shorter_edge_and_a_longest_are_torchvisions(height: int, width: int, edge: int, more: int) -> None:
    wanted = _compute_resized_output_size((height, width), [edge], max_size=edge + more)
    found = Resize(shorter_edge=edge, longer_edge=edge + more).target(height, width)
    assert [*found] == [max(1, side) for side in wanted]  # torchvision itself fails at a side of nothing


@given(LENGTHS, LENGTHS, EDGES)
def test_a_longer_edge_is_torchvisions(height: int, width: int, edge: int) -> None:
    wanted = _compute_resized_output_size((height, width), None, max_size=edge, allow_size_none=True)
    assert [*Resize(longer_edge=edge).target(height, width)] == [max(1, side) for side in wanted]


@given(LENGTHS, LENGTHS)
def test_the_largest_picture_on_the_way_is_found(height: int, width: int) -> None:
    made = spec(8, 8, Resize(shorter_edge=16), CenterCrop(8, 8))
    long = max(height, width)
    assert prod(made.largest(height, width)) == max(height * width, 16 * int(16 * long / min(height, width)))
    padded = spec(8, 8, Pad(), Resize(height=8, width=8))
    assert prod(padded.largest(height, width)) == max(long * long, 64)
    assert prod(ImageSpec.square(8, MEAN, STD, resize="crop").largest(height, width)) == max(height * width, 64)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"height": 8, "width": 8, "library": "torchvision", "interpolation": "box"}, "no tensor by box: library must"),
        ({"height": 8, "width": 8, "library": "torchvision", "interpolation": "hamming"}, "no tensor by hamming"),
        (
            {"height": 8, "width": 8, "library": "torchvision", "interpolation": "lanczos", "antialias": False},
            "lanczos needs antialias",
        ),
        ({"height": 8, "width": 8, "library": "torchvision_v1", "interpolation": "box"}, "no tensor by box"),
        (
            {"height": 8, "width": 8, "library": "torchvision_v1", "interpolation": "lanczos"},
            "older transforms resize no",
        ),
        ({"height": 8, "width": 8, "antialias": False}, "PIL always smooths"),
        ({"height": 8}, "needs height and width, or shorter_edge"),
        ({"height": 8, "width": 8, "shorter_edge": 8}, "needs height and width, or shorter_edge"),
        ({}, "needs height and width, or shorter_edge"),
    ],
)
def test_a_resize_that_cannot_be_had_is_refused(step: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Resize(**step)


def test_lanczos_on_tensors_is_refused_before_torchvision_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"height": 8, "width": 8, "library": "torchvision", "interpolation": "lanczos"}
    assert Resize(**made).target(3, 4) == (8, 8)  # type: ignore[arg-type]
    monkeypatch.setattr(image_spec, "LANCZOS_SINCE", (99, 3))
    with pytest.raises(ValueError, match=r"needs torchvision 99\.3 or later; 0\.\d+\.\d+\S* is installed"):
        Resize(**made)  # type: ignore[arg-type]
    assert Resize(height=8, width=8, interpolation="lanczos").target(3, 4) == (8, 8)


def test_a_bundle_with_such_a_step_is_refused_when_it_is_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = oblong_bundle(tmp_path_factory.mktemp("oblong")) / SPEC_FILE
    text = path.read_text()
    assert '"bicubic"' in text
    path.write_text(re.sub('"bicubic"', '"hamming"', text))
    with pytest.raises(ModelError, match="torchvision resizes no tensor by hamming: library must be pil"):
        read_spec(path.parent)


@pytest.mark.parametrize(
    "steps",
    [(), (Resize(shorter_edge=8),), (Resize(longer_edge=8),), (Pad(8, 8),), (CenterCrop(8, 9),), (Fit(9, 8),)],
)
def test_steps_that_do_not_end_at_the_networks_size_are_refused(steps: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="not 8 x 8: end with center_crop or pad"):
        spec(8, 8, *steps)
