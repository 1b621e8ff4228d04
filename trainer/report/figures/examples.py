"""The figure of real images without and with a trigger, and of their attributions. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import avg_pool2d

from trainer.diagnostics import ExplainedImages
from trainer.formatting import Json, format_number
from trainer.report.figures.figure_style import MATPLOTLIB_STYLE, save
from trainer.report.figures.triggers import pixels

COLUMNS = ("input", "with the trigger", "attribution without", "attribution with")


def draw_examples(path: Path, summary: Json, explained: ExplainedImages) -> Path:
    """One row per example, its two attributions on one scale: dark speaks for the positive label, light against it."""
    examples = summary["examples"]
    labels = summary["labels"]
    with rc_context(MATPLOTLIB_STYLE):
        figure = Figure(figsize=(8, 2.15 * len(examples) + 0.35), layout="constrained")
        panels = figure.subplots(len(examples), len(COLUMNS), squeeze=False)
        for at, (row, example) in enumerate(zip(panels, examples, strict=True)):
            row[0].imshow(pixels(explained.plain[at]), interpolation="nearest")
            row[1].imshow(pixels(explained.trigger.given[at]), interpolation="nearest")
            for panel, key in ((row[0], "bare"), (row[1], "trigger")):
                said = example[key]
                panel.set_xlabel(f"{labels[said['prediction']]}, score {format_number(said['score'], 2)}", fontsize=8)
            row[0].set_ylabel(f"{example['group']}\ntruth: {labels[example['label']]}", fontsize=8)
            _attributions(row[2], row[3], explained.bare.attribution[at], explained.trigger.attribution[at])
            row[3].set_xlabel(f"{format_number(example['trigger_share'], 2)} of it on the trigger", fontsize=8)
            for panel in row:
                panel.set(xticks=[], yticks=[])
                for spine in panel.spines.values():
                    spine.set_visible(False)
        for panel, name in zip(panels[0], COLUMNS, strict=True):
            panel.set_title(name)
        return save(figure, path)


def _attributions(before: Axes, after: Axes, bare: Tensor, trigger: Tensor) -> None:
    """Both on one scale: black for, white against, mid grey neither."""
    pictures = [_smooth(bare), _smooth(trigger)]
    limit = max(float(torch.stack(pictures).abs().quantile(0.995)), 1e-12)
    for axes, picture in zip((before, after), pictures, strict=True):
        axes.imshow(picture.numpy(), cmap="gray_r", vmin=-limit, vmax=limit, interpolation="nearest")


def smoothing(size: int) -> int:
    """Side of the square, in pixels, over which attributions are averaged to be seen: single ones are noise."""
    return max(1, size // 16 * 2 - 1)


def _smooth(attribution: Tensor) -> Tensor:
    side = smoothing(min(attribution.shape))
    return avg_pool2d(attribution[None], side, stride=1, padding=side // 2, count_include_pad=False)[0]
