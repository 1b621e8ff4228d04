"""The pictures of a report. Needs matplotlib; legible in black and white, with units, n and intervals."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from trainer.config import Criterion
from trainer.select import judged_gap
from triggers.fairness import Estimate, FairnessReport, Gap
from triggers.image import ImageTrigger
from triggers.preview import preview_png

INK: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 150}


@dataclass(frozen=True)
class Point:
    """One point of the front: its name beside it, its figures, and whether it is the recommended one."""

    name: str
    report: FairnessReport
    best: bool = False


def draw_front(path: Path, title: str, criterion: Criterion, bare: FairnessReport, points: Sequence[Point]) -> None:
    """Accuracy against the trained gap, lower right is better, with 95 % intervals; a point's name is its strength."""
    with rc_context(INK):
        figure = Figure(figsize=(5.5, 4), layout="constrained")
        axes = figure.subplots()
        _draw(axes, Point("no trigger", bare), criterion, "s", "black")
        for point in sorted(points, key=lambda point: point.best):
            _draw(axes, point, criterion, "*" if point.best else "o", "0.35")
        axes.set_xlabel("accuracy (0 to 1)")
        axes.set_ylabel(f"{judged_gap(bare, criterion)[0]} (0 to 1)")
        axes.set_ylim(bottom=0)
        axes.set_title(
            f"{title}, n = {bare.n}, 95 % intervals\nnumbers: strength; star: picked on validation", fontsize=9
        )
        figure.savefig(path)


def draw_triggers(path: Path, triggers: Sequence[tuple[str, ImageTrigger]]) -> None:
    """Named triggers side by side on mid grey, an overlay's contrast stretched."""
    with rc_context(INK):
        figure = Figure(figsize=(2 * len(triggers), 2.4), layout="constrained")
        panels = figure.subplots(1, len(triggers), squeeze=False)[0]
        for panel, (name, trigger) in zip(panels, triggers, strict=True):
            panel.imshow(Image.open(io.BytesIO(preview_png(trigger))).convert("RGB"))
            panel.set_title(name, fontsize=9)
            panel.set_axis_off()
        figure.savefig(path)


def _draw(axes: Axes, point: Point, criterion: Criterion, marker: str, colour: str) -> None:
    gap, accuracy = judged_gap(point.report, criterion)[1], point.report.overall.accuracy
    if gap.value is None or accuracy.value is None:
        return
    x, y = accuracy.value, gap.value
    axes.errorbar([x], [y], xerr=_bar(accuracy), yerr=_bar(gap), fmt=marker, color=colour, elinewidth=0.5, markersize=7)
    axes.annotate(point.name, (x, y), xytext=(5, 5), textcoords="offset points")


def _bar(figure: Estimate | Gap) -> list[list[float]] | None:
    """How far the interval reaches below and above."""
    if figure.value is None or figure.low is None or figure.high is None:
        return None
    return [[max(figure.value - figure.low, 0.0)], [max(figure.high - figure.value, 0.0)]]
