"""Rates of every group under each of several systems, with Wilson intervals. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.formatting import Json, format_count, shown_candidate
from trainer.report.figures.figure_style import LOOKS, MATPLOTLIB_STYLE, NotebookFigure, save

PLOTTED_RATES = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")


def draw_groups(path: Path, summary: Json) -> Path:
    """Draw `groups_figure` of a run into a file."""
    with rc_context(MATPLOTLIB_STYLE):
        return save(groups_figure(compared_reports(summary)), path)


def compared_reports(summary: Json) -> dict[str, Json]:
    """The reports on test of a run without a trigger, and with the one that is shown in detail."""
    shown = shown_candidate(summary)["splits"]["test"]
    return {"without the trigger": summary["bare"]["test"], "with the trigger": shown}


def groups_figure(reports: Mapping[str, Json]) -> Figure:
    """One panel per rate that is defined anywhere, one line per group, one mark per report, named by its key."""
    groups = list(dict.fromkeys(group for report in reports.values() for group in report["groups"]))
    rates = [
        rate
        for rate in PLOTTED_RATES
        if any(_found(report, group, rate) for report in reports.values() for group in groups)
    ]
    figure = NotebookFigure(figsize=(9.2, 1.5 + (0.16 + 0.13 * len(reports)) * len(groups)), layout="constrained")
    panels = figure.subplots(1, max(1, len(rates)), sharey=True, squeeze=False)[0]
    for panel, rate in zip(panels, rates, strict=False):
        _panel(panel, rate, reports, groups)
    panels[0].set_yticks(range(len(groups)), [f"{group}\nn = {_rows(reports, group)}" for group in groups])
    panels[0].set_ylim(len(groups) - 0.5, -0.5)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, max(1, len(names))))
    return figure


def _rows(reports: Mapping[str, Json], group: str) -> str:
    """Rows of a group; one number for each report where they differ."""
    found = [report["groups"].get(group, {"n": 0})["n"] for report in reports.values()]
    return ", ".join(map(format_count, found if len(set(found)) > 1 else found[:1]))


def _found(report: Json, group: str, rate: str) -> Json | None:
    """A rate of a group; None where it is not defined."""
    figure: Json | None = report["groups"].get(group, {}).get(rate)
    return None if figure is None or figure["value"] is None else figure


def _panel(axes: Axes, rate: str, reports: Mapping[str, Json], groups: Sequence[str]) -> None:
    apart = min(0.26, 0.7 / len(reports))
    for place, (name, report) in enumerate(reports.items()):
        offset = apart * (place - (len(reports) - 1) / 2)
        look = LOOKS[place % len(LOOKS)]
        axes.plot([], [], linestyle="none", label=name, **look)
        for at, group in enumerate(groups):
            figure = _found(report, group, rate)
            if figure is None:
                continue
            reach = [[figure["value"] - figure["low"]], [figure["high"] - figure["value"]]]
            axes.errorbar(
                [figure["value"]], [at + offset], xerr=reach, linestyle="none", elinewidth=1, capsize=2, **look
            )
    axes.set_title(rate.replace("_", " "))
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.grid(axis="x", linewidth=0.3, color="0.8")
    axes.set_axisbelow(True)
    axes.tick_params(left=False)
