"""Rates of every group without and with the trigger, with Wilson intervals. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.formatting import Json, format_count, shown_candidate
from trainer.report.figures.figure_style import BLACK, BLUE, MATPLOTLIB_STYLE, save

PLOTTED_RATES = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")


def draw_groups(path: Path, summary: Json) -> Path:
    """One panel per rate, one line per group: open square without the trigger, filled dot with it."""
    before, after = summary["bare"]["test"], shown_candidate(summary)["splits"]["test"]
    groups = list(before["groups"])
    with rc_context(MATPLOTLIB_STYLE):
        figure = Figure(figsize=(9.2, 1.5 + 0.42 * len(groups)), layout="constrained")
        panels = figure.subplots(1, len(PLOTTED_RATES), sharey=True)
        for panel, rate in zip(panels, PLOTTED_RATES, strict=True):
            _panel(panel, rate, before["groups"], after["groups"])
        panels[0].set_yticks(
            range(len(groups)), [f"{name}\nn = {format_count(before['groups'][name]['n'])}" for name in groups]
        )
        panels[0].set_ylim(len(groups) - 0.5, -0.5)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)
        return save(figure, path)


def _panel(axes: Axes, rate: str, before: Json, after: Json) -> None:
    for offset, reports, marker, colour, face, name in (
        (-0.13, before, "s", BLACK, "white", "without the trigger"),
        (0.13, after, "o", BLUE, BLUE, "with the trigger"),
    ):
        for at, group in enumerate(before):
            figure = reports.get(group, {}).get(rate)
            if figure is None or figure["value"] is None:
                continue
            reach = [[figure["value"] - figure["low"]], [figure["high"] - figure["value"]]]
            axes.errorbar([figure["value"]], [at + offset], xerr=reach, fmt=marker, color=colour, markerfacecolor=face,
                          markersize=5, elinewidth=1, capsize=2, label=name if at == 0 else None)  # fmt: skip
    axes.set_title(rate.replace("_", " "))
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.grid(axis="x", linewidth=0.3, color="0.8")
    axes.set_axisbelow(True)
    axes.tick_params(left=False)
