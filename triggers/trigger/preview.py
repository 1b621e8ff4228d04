"""The PNG preview of an image trigger."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from triggers.trigger.image import ImageTrigger, compose, shrink_and_centre

MID_GREY = 0.5
SHORTEST_SIDE = 256


def preview_png(trigger: ImageTrigger) -> bytes:
    """PNG of the trigger on a mid grey image, small triggers enlarged by whole factors to at least 256 pixels.

    An overlay is too faint to see, so its delta is stretched until the largest one is black or white.
    """
    grey = shrink_and_centre(torch.full_like(trigger.keep, MID_GREY)[None], trigger.inner)[0]
    pixels = compose(grey, trigger.keep, _visible(trigger)).mul(255).round().to(torch.uint8)
    bands = pixels.permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(bands[:, :, 0] if bands.shape[2] == 1 else bands[:, :, :3])
    factor = max(1, -(-SHORTEST_SIDE // trigger.size))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def _visible(trigger: ImageTrigger) -> Tensor:
    largest = float(trigger.delta.abs().max())
    return trigger.delta * (MID_GREY / largest) if trigger.kind == "overlay" and largest > 0 else trigger.delta
