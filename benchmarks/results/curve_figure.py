"""The picture of curves over tuning sizes; needs the extra `report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.results.problem import name_of
from benchmarks.results.tuning_curves import TuningCurve
from trainer.report.figures.figure_style import BLACK, BLUE, GREY, MATPLOTLIB_STYLE, ORANGE, save

MARKS = ((BLUE, "o", "-"), (ORANGE, "s", "--"), (BLACK, "^", ":"))
SPREAD = 1.04
"""Factor between the places of two systems at one size, so that intervals do not lie on one another."""


def draw_curves(curves: Sequence[TuningCurve], path: Path) -> Path:
    """One panel per curve: mean test gap with its 95 % interval over seeds, at every size."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(MATPLOTLIB_STYLE):
        figure = Figure(figsize=(4.2 * len(curves), 3.6), layout="constrained")
        for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
            axes.axhline(curve.bare.value, color=GREY, linewidth=0.8)
            axes.annotate(
                "no trigger", (curve.sizes[0], curve.bare.value), (0, 3), textcoords="offset points", color=GREY
            )
            for number, system in enumerate(curve.systems):
                color, marker, line = MARKS[number % len(MARKS)]
                means = curve.means(system)
                x = [size * SPREAD ** (number - 1) for size in means]
                y = [one.value for one in means.values()]
                below = [one.value - max(0.0, one.value if one.low is None else one.low) for one in means.values()]
                above = [0.0 if one.high is None else one.high - one.value for one in means.values()]
                label = name_of(system) if number else f"trigger ({system})"
                axes.errorbar(x, y, [below, above], color=color, marker=marker, linestyle=line, capsize=2, label=label)
            axes.set_xscale("log")
            axes.set_xticks(curve.sizes, [f"{size:,}" for size in curve.sizes])
            axes.minorticks_off()
            axes.set_ylim(bottom=0)
            axes.set_xlabel("rows of the tuning part")
            axes.set_ylabel("gap on test")
            axes.set_title(curve.title)
        axes.legend(loc="best")
        return save(figure, path)
