"""Triggers of images that are not square, against a slow reading of the formula; squares are as they always were."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate

from tests.artifacts import IMAGE_KINDS, image_trigger, manifest_for
from triggers.artifact.artifact import load_artifact, make_artifact, to_bytes
from triggers.artifact.manifest_checks import check_bounds, geometry_of
from triggers.errors import ArtifactCorrupt, ConfigError
from triggers.trigger.image import ImageBank, ImageTrigger, shrink_and_centre
from triggers.trigger.image_trainable import build_image_module
from triggers.trigger.preview import preview_png

SIDES = st.tuples(st.integers(6, 90), st.integers(6, 90))  # on both sides of SMALL


def photos(height: int, width: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def placed(pixels: torch.Tensor, margin: int) -> torch.Tensor:
    """Both sides smaller by `margin`, in the middle of black."""
    height, width = pixels.shape[-2:]
    black, before = torch.zeros_like(pixels), (margin + 1) // 2
    small = interpolate(pixels, (height - margin, width - margin), mode="bilinear", antialias=True)
    black[..., before : before + height - margin, before : before + width - margin] = small
    return black


@given(SIDES, st.data())
def test_both_sides_lose_as_many_pixels(sides: tuple[int, int], data: st.DataObject) -> None:
    margin = data.draw(st.integers(0, min(sides) - 2))  # torch's resize to one column gives every row alike
    pixels = photos(*sides) / 255.0
    found = shrink_and_centre(pixels, min(sides) - margin)
    assert torch.allclose(found, placed(pixels, margin), atol=1e-6, rtol=0)


@given(SIDES, st.integers(1, 9), st.integers(0, 3))
def test_a_border_leaves_the_small_image_inside_its_frame(sides: tuple[int, int], width: int, seed: int) -> None:
    height, across = sides
    assume(min(sides) - 2 * width != 1)  # as above
    if 2 * width >= min(sides):
        with pytest.raises(ConfigError, match=rf"2 \* width < {min(sides)}, the shorter side"):
            build_image_module("border", count=1, channels=3, size=sides, seed=seed, width=width)
        return
    (trigger,) = build_image_module("border", count=1, channels=3, size=sides, seed=seed, width=width).export()
    trigger.validate()
    assert (trigger.inner, trigger.size) == (min(sides) - 2 * width, min(sides))
    images = photos(*sides)
    shown = ImageBank.of([trigger]).apply_all(images)
    inside = (..., slice(width, height - width), slice(width, across - width))
    assert torch.allclose(shown[inside], placed(images / 255.0, 2 * width)[inside], atol=1e-6)
    frame = torch.ones(3, height, across, dtype=torch.bool)
    frame[inside] = False
    assert torch.equal(shown[:, frame], trigger.delta[frame].expand(2, -1))


@pytest.mark.parametrize("kind", IMAGE_KINDS)
@pytest.mark.parametrize("sides", [(24, 40), (40, 24), (70, 30)])
def test_an_artifact_of_every_kind_states_both_sides_and_comes_back(kind: str, sides: tuple[int, int]) -> None:
    trigger = image_trigger(kind, 1, size=sides)
    assert isinstance(trigger, ImageTrigger)
    manifest = manifest_for(trigger)
    stated = {"channels": 3, "image_height": sides[0], "image_width": sides[1], "inner": trigger.inner}
    assert geometry_of(trigger) == stated
    artifact = make_artifact(trigger, manifest)
    again = load_artifact(to_bytes(artifact))
    assert isinstance(again.trigger, ImageTrigger)
    assert torch.equal(again.trigger.delta, trigger.delta) and again.digest == artifact.digest
    turned = ImageTrigger(kind, trigger.inner, trigger.keep.mT.contiguous(), trigger.delta.mT.contiguous())  # type: ignore[arg-type]
    with pytest.raises(ArtifactCorrupt, match=f"image_height = {sides[0]}, but the tensors have {sides[1]}"):
        check_bounds(turned, manifest)


def test_one_pass_serves_several_kinds_row_by_row() -> None:
    triggers = [ImageTrigger.none(3, 24, 40), *(image_trigger(kind, size=(24, 40)) for kind in IMAGE_KINDS)]
    bank = ImageBank.of([trigger for trigger in triggers if isinstance(trigger, ImageTrigger)])
    images = photos(24, 40, count=5)
    mixed = bank.apply(images, torch.arange(5))
    everything = bank.apply_all(images).view(5, 5, 3, 24, 40)
    assert torch.equal(mixed, everything[torch.arange(5), torch.arange(5)])
    assert torch.equal(mixed[0], images[0] / 255.0)


def test_an_overlay_is_learned_on_cells_of_one_shape() -> None:
    module = build_image_module("overlay", count=1, channels=3, size=(24, 40), seed=0, epsilon=0.2, resolution=6)
    assert module.weight.shape == (1, 3, 6, 10)
    assert module.export()[0].delta.shape == (3, 24, 40)


def test_pixels_are_a_share_of_all() -> None:
    module = build_image_module("pixels", count=1, channels=3, size=(24, 40), seed=0, fraction=0.25)
    assert int((module.export()[0].keep[0] == 0).sum()) == 240


def test_the_preview_has_the_shape_of_the_image() -> None:
    trigger = image_trigger("border", size=(24, 40))
    assert isinstance(trigger, ImageTrigger)
    assert Image.open(io.BytesIO(preview_png(trigger))).size == (440, 264)


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_a_square_states_one_size_and_starts_from_the_same_numbers_as_ever(kind: str) -> None:
    module = build_image_module(kind, count=1, channels=3, size=16, seed=3, **IMAGE_KINDS[kind])
    drawn = torch.rand((3, 16, 16), generator=torch.Generator().manual_seed(3)) * 2 - 1
    assert torch.equal(module.weight[0], drawn * 0.05 if kind == "overlay" else drawn)
    (trigger,) = module.export()
    assert geometry_of(trigger) == {"channels": 3, "size": 16, "inner": 12 if kind == "border" else 16}
