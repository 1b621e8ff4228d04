"""Every trainable image kind: geometry, ranges, gradients, and that training it lowers a real loss."""

from __future__ import annotations

import re
from typing import Literal

import pytest
import torch

from trainer.config.run_config import TriggerConfig
from triggers.errors import ConfigError
from triggers.trigger.image import ImageBank
from triggers.trigger.image_trainable import ImageModule, PixelsModule, border_mask, build_image_module, patch_mask

SIZE = 16
KINDS: dict[str, dict[str, object]] = {
    "border": {"width": 3},
    "patch": {"patch_size": 5},
    "overlay": {"epsilon": 0.2},
    "pixels": {"fraction": 0.25},
}


def build(kind: str, seed: int = 0) -> ImageModule:
    return build_image_module(kind, count=3, channels=3, size=SIZE, seed=seed, **KINDS[kind])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_exports_valid_triggers_that_start_alike(kind: str) -> None:
    module = build(kind)
    first, *others = module.export()
    for trigger in [first, *others]:
        trigger.validate()
        assert trigger.kind == kind
    assert all(torch.equal(first.delta, other.delta) for other in others)
    assert not torch.equal(first.delta, build(kind, seed=1).export()[0].delta)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_descent_moves_the_shown_image_to_a_target(kind: str) -> None:
    module = build(kind)
    images = torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.2)
    losses = []
    for _ in range(20):
        loss = (module.render().apply_all(images) - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        module.constrain_()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.01
    for trigger in module.export():
        trigger.validate()


def test_border_is_a_frame_and_the_image_shrinks_into_it() -> None:
    trigger = build("border").export()[0]
    assert trigger.inner == SIZE - 6
    assert torch.equal(trigger.keep, (1 - border_mask((SIZE, SIZE), 3)).expand(3, -1, -1))
    assert trigger.delta[:, 3:-3, 3:-3].abs().max() == 0


@pytest.mark.parametrize("sides", [(SIZE, SIZE), (20, 32)])
def test_a_border_that_covers_leaves_the_image_inside_as_it_is(sides: tuple[int, int]) -> None:
    (trigger,) = build_image_module("border", count=1, channels=3, size=sides, seed=0, width=3, fit="cover").export()
    trigger.validate()
    assert trigger.inner == min(sides)
    images = torch.randint(0, 256, (2, 3, *sides), dtype=torch.uint8)
    shown = ImageBank.of([trigger]).apply_all(images)
    frame = border_mask(sides, 3).bool().expand(2, 3, -1, -1)
    assert torch.equal(shown[~frame], (images / 255.0)[~frame])
    assert torch.equal(shown[frame], trigger.delta.expand_as(shown)[frame])
    assert trigger.delta[frame[0]].min() > 0


@pytest.mark.parametrize(
    ("corner", "rows", "columns"),
    [("top_left", 0, 0), ("top_right", 0, -1), ("bottom_left", -1, 0), ("bottom_right", -1, -1)],
)
def test_patches_are_flush_with_their_corner(corner: str, rows: int, columns: int) -> None:
    mask = patch_mask((SIZE, SIZE), 5, corner)  # type: ignore[arg-type]
    assert mask.sum() == 25 and mask[rows, columns] == 1


def test_pixels_are_a_share_of_the_area_in_all_channels_and_are_learned() -> None:
    module = build("pixels")
    assert isinstance(module, PixelsModule)
    keep = module.export()[0].keep
    assert (keep == 0).sum() == 3 * round(0.25 * SIZE * SIZE)
    assert torch.equal(keep[0], keep[1])
    module.render().delta.sum().backward()
    assert module.score.grad is not None and module.score.grad.abs().sum() > 0


def test_overlay_never_leaves_epsilon() -> None:
    module = build("overlay")
    with torch.no_grad():
        module.weight.fill_(50.0)
    assert module.export()[0].delta.max() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("kind", "geometry", "told"),
    [
        ("border", {"width": 8}, "width is 8"),
        ("border", {}, "width is 0"),
        ("patch", {"patch_size": 16}, "patch_size is 16"),
        ("patch", {}, "patch_size is 0"),
        ("overlay", {"epsilon": 32}, "epsilon is 32"),
        ("overlay", {"epsilon": 0.0}, "epsilon is 0.0"),
        ("pixels", {"fraction": 1.0}, "fraction is 1.0"),
        ("pixels", {"fraction": 0.0}, "fraction is 0.0"),
        ("frame", {}, "kind 'frame' is no image trigger"),
    ],
)
def test_impossible_geometry_is_refused(kind: str, geometry: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        build_image_module(kind, count=1, channels=3, size=SIZE, seed=0, **geometry)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "geometry"),
    [("border", {"width": 7}), ("border", {"width": 1}), ("patch", {"patch_size": 15}), ("patch", {"patch_size": 1}),
     ("overlay", {"epsilon": 1.0}), ("pixels", {"fraction": 0.99})],
)  # fmt: skip
def test_the_smallest_and_the_largest_geometry_is_built(kind: str, geometry: dict[str, object]) -> None:
    build_image_module(kind, count=1, channels=3, size=SIZE, seed=0, **geometry).export()[0].validate()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["overlay", "pixels"])
def test_a_size_that_is_left_out_is_that_of_a_run_without_it(kind: Literal["overlay", "pixels"]) -> None:
    found = []
    for sizes in ({}, TriggerConfig(kind).geometry()):
        module = build_image_module(kind, count=1, channels=3, size=SIZE, seed=0, **sizes)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(50.0)  # as far as an overlay goes
        found += module.export()
    assert torch.equal(found[0].delta, found[1].delta) and torch.equal(found[0].keep, found[1].keep)


@pytest.mark.parametrize(("resolution", "fits"), [(0, False), (1, True), (SIZE, True), (SIZE + 1, False)])
def test_an_overlay_is_learned_on_at_least_one_cell_and_at_most_one_per_pixel(resolution: int, fits: bool) -> None:
    def built() -> ImageModule:
        return build_image_module("overlay", count=1, channels=3, size=SIZE, seed=0, epsilon=0.2, resolution=resolution)

    if fits:
        built().export()[0].validate()
        return
    with pytest.raises(ConfigError, match=f"resolution is {resolution}; it is a number of cells between 1 and 16"):
        built()
