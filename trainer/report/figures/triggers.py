"""Pictures of image triggers, alone and side by side. Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from trainer.report.figures.figure_style import MATPLOTLIB_STYLE, save
from triggers.trigger import ImageTrigger, preview_png
from triggers.trigger.image import compose, shrink_and_centre
from triggers.trigger.preview import MID_GREY

ROW = 6
"""Pictures in one row."""


def draw_triggers(path: Path, triggers: Sequence[tuple[str, ImageTrigger]]) -> Path:
    """Named triggers side by side on mid grey, an overlay's contrast stretched."""
    return _draw(path, [(name, _picture(trigger)) for name, trigger in triggers])


def draw_trigger(path: Path, trigger: ImageTrigger) -> Path:
    """One trigger as the model reads it on a grey image; an overlay also magnified, labelled with the factor."""
    grey = shrink_and_centre(torch.full_like(trigger.keep, MID_GREY)[None], trigger.inner)[0]
    shown = compose(grey, trigger.keep, trigger.delta)
    pictures: list[tuple[str, Any]] = [("on a mid-grey image, as it is", pixels(shown))]
    largest = float(trigger.delta.abs().max())
    if trigger.kind == "overlay" and largest > 0:
        pictures.append((f"contrast x {MID_GREY / largest:.1f}", _picture(trigger)))
        size = trigger.delta.abs().mean(dim=0)
        pictures.append(
            (f"size of the change\nwhite: {float(size.max()) * 255:.0f} of 255 grey levels", pixels(size / size.max()))
        )
    return _draw(path, pictures)


def pixels(image: torch.Tensor) -> NDArray[Any]:
    """(C, H, W) or (H, W) in [0, 1] to what matplotlib shows; a grey image gets three channels."""
    image = image.detach().cpu().clamp(0, 1)
    if image.ndim == 2:
        image = image.unsqueeze(0)
    shown: NDArray[Any] = (
        image.expand(3, -1, -1).permute(1, 2, 0).numpy() if len(image) == 1 else image[:3].permute(1, 2, 0).numpy()
    )
    return shown


def _picture(trigger: ImageTrigger) -> Image.Image:
    return Image.open(io.BytesIO(preview_png(trigger))).convert("RGB")


def _draw(path: Path, pictures: Sequence[tuple[str, Any]]) -> Path:
    columns = min(ROW, len(pictures))
    rows = -(-len(pictures) // columns)
    with rc_context(MATPLOTLIB_STYLE):
        figure = Figure(figsize=(2.1 * columns, 2.45 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for panel in panels:
            panel.set_axis_off()
        for panel, (name, picture) in zip(figure.axes, pictures, strict=False):
            panel.imshow(picture, interpolation="nearest")
            panel.set_title(name, fontsize=8)
        return save(figure, path)
