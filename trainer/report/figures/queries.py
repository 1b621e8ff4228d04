"""Gaps on validation over the rows that a training has asked. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from trainer.formatting import Json
from trainer.report.figures.figure_style import BLUE, GREY, MATPLOTLIB_STYLE, save

LINES = ("-", "--", "-.", ":")
PANELS = 3
"""Panels of a row."""


def draw_curves(path: Path, trainings: Mapping[str, Json]) -> Path:
    """One panel per training, by its title: a line for each strength, from no trigger on."""
    across = min(PANELS, len(trainings))
    down = -(-len(trainings) // across)
    with rc_context(MATPLOTLIB_STYLE):
        figure = Figure(figsize=(max(5.0, 3.2 * across), 2.8 * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).flat
        for axes, (title, queries) in zip(panels, trainings.items(), strict=False):
            curve, bare = queries["curve"], queries["bare_gap"]
            for k in range(len(curve[0]["gaps"])):
                at = [0, *(point["queries"] for point in curve)]
                gaps = [bare, *(point["gaps"][k] for point in curve)]
                known = [(x, gap) for x, gap in zip(at, gaps, strict=True) if gap is not None]
                name = f"strength {queries['strengths'][k]:g}"
                axes.plot(*zip(*known, strict=True), LINES[k % len(LINES)], color=BLUE, marker=".", label=name)
            if bare is not None:
                axes.axhline(bare, color=GREY, linestyle=(0, (4, 3)), linewidth=0.8)
            axes.set_title(title)
            axes.set_ylim(bottom=0)
            axes.set_xlabel("rows asked for tuning")
            axes.set_ylabel("gap on validation")
            axes.legend()
        for axes in list(panels):
            axes.set_axis_off()
        return save(figure, path)
