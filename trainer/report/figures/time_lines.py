"""One figure of several systems over time, with intervals. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.formatting import Json
from trainer.report.figures.figure_style import LOOKS, NotebookFigure


@dataclass(frozen=True)
class TimeMark:
    """A figure with its `value`, `low` and `high`, of the step between two times."""

    since: datetime
    until: datetime
    figure: Json


def time_figure(lines: Mapping[str, Sequence[TimeMark]], words: str, step: str) -> Figure:
    """One line per system, named by its key, marks in the middle of steps; a step without a mark breaks the line."""
    drawn = NotebookFigure(figsize=(9.2, 3.6), layout="constrained")
    axes = drawn.subplots()
    for place, (name, marks) in enumerate(lines.items()):
        _line(axes, name, marks, place)
    axes.set(xlabel=f"time (UTC), steps of {step}", ylabel=words)
    axes.set_ylim(bottom=0)
    axes.grid(linewidth=0.3, color="0.85")
    axes.set_axisbelow(True)
    drawn.legend(loc="outside lower center", ncols=min(4, len(lines)))
    return drawn


def _line(axes: Axes, name: str, marks: Sequence[TimeMark], place: int) -> None:
    runs: list[list[TimeMark]] = []
    for mark in marks:
        if runs and runs[-1][-1].until == mark.since:
            runs[-1].append(mark)
        else:
            runs.append([mark])
    look = LOOKS[place % len(LOOKS)]
    axes.plot([], [], linewidth=1, label=name, **look)
    for run in runs:
        times = [mark.since + (mark.until - mark.since) / 2 for mark in run]
        values = [mark.figure["value"] for mark in run]
        below = [mark.figure["value"] - mark.figure["low"] for mark in run]
        above = [mark.figure["high"] - mark.figure["value"] for mark in run]
        axes.errorbar(times, values, yerr=[below, above], linewidth=1, elinewidth=1, capsize=2, **look)  # type: ignore[arg-type]
