"""Previews: the picture shows the trigger's own pixels on grey."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.artifacts import image_trigger
from triggers.trigger.image import ImageTrigger
from triggers.trigger.preview import preview_png


def picture(trigger: object) -> NDArray[np.uint8]:
    assert isinstance(trigger, ImageTrigger)
    with Image.open(io.BytesIO(preview_png(trigger))) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.parametrize(("kind", "grey"), [("border", 12 * 12), ("patch", 256 - 25), ("pixels", 256 - 64)])
def test_replaced_pixels_are_shown_as_they_are_and_the_rest_is_grey(kind: str, grey: int) -> None:
    trigger = image_trigger(kind)
    assert isinstance(trigger, ImageTrigger)
    shown = picture(trigger)[::16, ::16]
    kept = trigger.keep[0].bool().numpy()
    assert kept.sum() == grey
    assert (shown[kept] == 128).all()
    wanted = (trigger.delta.permute(1, 2, 0).numpy() * 255).round()
    assert (shown[~kept] == wanted[~kept]).all()


def test_an_overlay_is_stretched_until_it_can_be_seen() -> None:
    trigger = image_trigger("overlay")
    assert isinstance(trigger, ImageTrigger)
    shown = picture(trigger)[::16, ::16].astype(int)
    assert {int(shown.min()), int(shown.max())} & {0, 255}
    darker = (trigger.delta < -trigger.delta.abs().max() / 50).permute(1, 2, 0).numpy()
    assert (shown[darker] < 128).all()


def test_no_trigger_is_plain_grey() -> None:
    assert (picture(ImageTrigger.none(3, 20)) == 128).all()


@pytest.mark.parametrize(("size", "shown"), [(8, 256), (28, 280), (256, 256), (300, 300)])
def test_small_triggers_are_enlarged_by_whole_factors(size: int, shown: int) -> None:
    assert picture(ImageTrigger.none(3, size)).shape == (shown, shown, 3)


def test_a_grey_trigger_gives_a_grey_picture() -> None:
    trigger = ImageTrigger("overlay", 8, torch.ones(1, 8, 8), torch.full((1, 8, 8), 0.1))
    assert (picture(trigger) == 255).all()
    assert picture(trigger).shape == (256, 256)
