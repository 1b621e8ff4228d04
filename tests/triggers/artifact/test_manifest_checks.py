"""Every bound that a manifest states is held against the tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.artifacts import image_trigger, manifest_for, text_trigger
from tests.bundles import SIZE
from triggers.artifact.artifact import load_artifact, make_artifact, to_bytes
from triggers.artifact.manifest import Manifest
from triggers.artifact.manifest_checks import check_bounds, geometry_of, value_range_of
from triggers.errors import ArtifactCorrupt
from triggers.trigger.image import ImageTrigger
from triggers.trigger.image_trainable import build_image_module
from triggers.trigger.text import TextTrigger


def edited(kind: str, edit: Callable[[ImageTrigger], object]) -> ImageTrigger:
    """A sound trigger whose tensors were then changed in place."""
    trigger = image_trigger(kind)
    assert isinstance(trigger, ImageTrigger)
    edit(trigger)
    return trigger


WRONG_IMAGES: dict[str, tuple[str, Callable[[ImageTrigger], object], dict[str, Any], str]] = {
    "border paints inside": ("border", lambda t: t.delta[0, 8, 8].fill_(0.5), {}, "may change only what it replaces"),
    "border blacks out the inside": ("border", lambda t: t.keep[:, 8, 8].fill_(0), {}, "frame and nothing else"),
    "border with a hole": (
        "border",
        lambda t: (t.keep[:, 0].fill_(1), t.delta[:, 0].fill_(0)),
        {},
        "frame and nothing",
    ),
    "border of another width": ("border", lambda t: t, {"width": 3}, "width = 3"),
    "keep beyond 1": ("border", lambda t: t.keep[0, 8, 8].fill_(1.5), {}, r"keep leaves \[0, 1\]"),
    "keep below 0": ("overlay", lambda t: t.keep[0, 0, 0].fill_(-0.1), {}, r"keep leaves \[0, 1\]"),
    "keep in between": ("patch", lambda t: t.keep[0, 0, 0].fill_(0.5), {}, "between 0 and 1"),
    "infinite delta": ("patch", lambda t: t.delta[0, 0, 0].fill_(torch.inf), {}, "NaN or infinite"),
    "negative pixel": ("patch", lambda t: t.delta[0, 0, 0].fill_(-0.5), {}, r"-0.5 to .* leaves the stated \[0, 1\]"),
    "patch that is no square": ("patch", lambda t: t.keep[:, 0, 5].fill_(0), {}, "exactly one square"),
    "patch in one channel": ("patch", lambda t: t.keep[0, 0, 5].fill_(0), {}, "exactly one square"),
    "patch of nothing": ("patch", lambda t: (t.keep.fill_(1), t.delta.fill_(0)), {}, "keeps them all"),
    "patch of another size": ("patch", lambda t: t, {"patch_size": 6}, "patch_size = 6"),
    "overlay beyond epsilon": (
        "overlay",
        lambda t: t.delta[0, 0, 0].fill_(0.2),
        {},
        r"leaves the stated \[-0.125, 0.125\]",
    ),
    "overlay without epsilon": ("overlay", lambda t: t, {"epsilon": "big"}, "must state its epsilon"),
    "overlay that hides": ("overlay", lambda t: t.keep[:, 3].fill_(0), {}, "keeps every pixel"),
    "too many pixels": ("pixels", lambda t: t.keep.fill_(0), {}, "fraction = 0.25, but replaced are 256 of 256"),
    "pixels that add": ("pixels", lambda t: t.delta.fill_(0.5), {}, "may change only what it replaces"),
    "stated size": ("border", lambda t: t, {"size": 28}, "size = 28, but the tensors have 16"),
    "stated channels": ("border", lambda t: t, {"channels": 1}, "channels = 1"),
    "no inner": ("border", lambda t: t, {"inner": None}, "inner = None"),
}


@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_an_image_trigger_out_of_its_bounds_is_corrupt(case: str) -> None:
    kind, edit, geometry, reason = WRONG_IMAGES[case]
    manifest = manifest_for(image_trigger(kind))
    trigger = edited(kind, edit)
    stated = {key: value for key, value in (manifest.geometry | geometry).items() if value is not None}
    check_bounds(image_trigger(kind), manifest)
    with pytest.raises(ArtifactCorrupt, match=reason):
        check_bounds(trigger, manifest.model_copy(update={"geometry": stated}))


def covering(**stated: Any) -> tuple[ImageTrigger, Manifest]:
    """A border of two pixels over the edge of 16, and its manifest."""
    trigger = build_image_module("border", count=1, channels=3, size=SIZE, seed=0, width=2, fit="cover").export()[0]
    geometry = {"channels": 3, "size": SIZE, "inner": SIZE, "width": 2, "fit": "cover"} | stated
    return trigger, manifest_for(trigger, geometry={k: value for k, value in geometry.items() if value is not None})


def test_a_border_may_cover_the_edge_and_says_so() -> None:
    trigger, manifest = covering()
    check_bounds(trigger, manifest)
    again = load_artifact(to_bytes(make_artifact(trigger, manifest)))
    assert isinstance(again.trigger, ImageTrigger)
    assert torch.equal(again.trigger.keep, trigger.keep) and again.trigger.inner == SIZE


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"fit": None}, "leaves 16 pixels free"),  # as earlier releases read it
        ({"fit": "shrink"}, "leaves 16 pixels free"),
        ({"fit": "stretch"}, "fit = 'stretch', which is neither"),
        ({"width": None}, "must state its width in pixels, not None"),
        ({"width": 2.0}, "must state its width in pixels, not 2.0"),
        ({"width": 8}, "must state its width in pixels, not 8"),
        ({"width": 0}, "must state its width in pixels, not 0"),
        ({"width": 3}, "leaves 10 pixels free"),
        ({"inner": 12}, "inner = 12, but the tensors have 16"),
    ],
)
def test_a_border_that_covers_and_says_otherwise_is_corrupt(stated: dict[str, Any], reason: str) -> None:
    with pytest.raises(ArtifactCorrupt, match=reason):
        check_bounds(*covering(**stated))


def test_a_border_that_shrinks_does_not_cover() -> None:
    trigger = image_trigger("border")
    assert isinstance(trigger, ImageTrigger)
    with pytest.raises(ArtifactCorrupt, match="inner = 12, but the tensors have 16"):
        check_bounds(trigger, manifest_for(trigger, geometry={**geometry_of(trigger), "width": 2, "fit": "cover"}))


def test_only_a_border_may_shrink_the_image() -> None:
    patch = image_trigger("patch")
    assert isinstance(patch, ImageTrigger)
    shrunk = dataclasses.replace(patch, inner=10)
    with pytest.raises(ArtifactCorrupt, match="inner = 10"):
        make_artifact(shrunk, manifest_for(shrunk))


def test_an_empty_image_trigger_is_corrupt() -> None:
    empty = ImageTrigger("overlay", 4, torch.zeros(0, 4, 4), torch.zeros(0, 4, 4))
    with pytest.raises(ArtifactCorrupt, match="empty"):
        make_artifact(empty, manifest_for(empty))


def test_pixels_must_be_showable() -> None:
    trigger = image_trigger("border")
    with pytest.raises(ArtifactCorrupt, match="cannot be shown"):
        check_bounds(trigger, manifest_for(trigger, value_range=(-1.0, 1.0)))


@pytest.mark.parametrize(("kind", "modality"), [("overlay", "image"), ("border", "text"), ("hard", "text")])
def test_papers_of_another_kind_are_corrupt(kind: str, modality: str) -> None:
    trigger = image_trigger("border")
    with pytest.raises(ArtifactCorrupt, match="image of kind 'border'"):
        check_bounds(trigger, manifest_for(trigger).model_copy(update={"kind": kind, "modality": modality}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"geometry": {"tokens": 4, "dim": 8, "position": "after_cls"}}, "tokens = 4"),
        ({"geometry": {"tokens": 3, "dim": 8, "position": "before_sep"}}, "position = 'before_sep'"),
        ({"geometry": {"tokens": 3, "dim": 9, "position": "after_cls"}}, "dim = 9"),
        ({"value_range": (-0.1, 0.1)}, r"leaves the stated \[-0.1, 0.1\]"),
    ],
)
def test_a_text_trigger_out_of_its_bounds_is_corrupt(change: dict[str, Any], reason: str) -> None:
    trigger = text_trigger("hard")
    with pytest.raises(ArtifactCorrupt, match=reason):
        check_bounds(trigger, manifest_for(trigger, **change))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"token_ids": (1, 2)}, "token_ids has 2 entries for 3"),
        ({"token_ids": (1, 2, -1)}, "-1, which is no id"),
        ({"token_ids": None}, "must name its token ids"),
        ({"words": ("one",)}, "words has 1 entries for 3"),
        ({"embeddings": torch.full((3, 8), torch.nan)}, "NaN"),
        ({"embeddings": torch.zeros(3, 8, 1)}, "matrix"),
    ],
)
def test_a_text_trigger_that_contradicts_itself_is_corrupt(change: dict[str, Any], reason: str) -> None:
    sound = text_trigger("hard")
    manifest = manifest_for(sound)
    assert isinstance(sound, TextTrigger)
    with pytest.raises(ArtifactCorrupt, match=reason):
        check_bounds(dataclasses.replace(sound, **change), manifest)


def test_facts_that_are_read_off_a_trigger() -> None:
    assert geometry_of(image_trigger("border")) == {"channels": 3, "size": 16, "inner": 12}
    assert value_range_of(image_trigger("border")) == (0.0, 1.0)
    text = text_trigger("soft")
    assert isinstance(text, TextTrigger)
    assert geometry_of(text) == {"tokens": 3, "dim": 8, "position": "after_cls"}
    assert value_range_of(text) == (text.embeddings.min().item(), text.embeddings.max().item())
    assert value_range_of(TextTrigger.none(8)) == (0.0, 0.0)
