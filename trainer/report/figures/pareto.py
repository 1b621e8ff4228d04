"""The trade-off front: accuracy against a gap, for triggers, baselines and controls. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.formatting import (
    CURVES,
    SWEPT,
    Json,
    format_count,
    format_number,
    objective_gap,
    other_criterion,
    system_name,
)
from trainer.report.figures.figure_style import BLACK, BLUE, GREY, MATPLOTLIB_STYLE, ORANGE, NotebookFigure, save
from trainer.report.rivals import alternatives

PLOTTED_SPLIT = "test"


@dataclass(frozen=True)
class Style:
    """How one system is drawn: name in the legend, marker, line, colour, marker filled or open, its size in points."""

    name: str
    marker: str
    line: str = "none"
    colour: str = GREY
    filled: bool = False
    size: float = 6


NO_TRIGGER = Style("no trigger", "s", colour=BLACK, filled=True)
BY_STRENGTH = Style("triggers, by strength", "", "-", BLUE)
STATUS_STYLES = {
    "certified": Style("trigger, certified", "o", colour=BLUE, filled=True),
    "promising": Style("trigger, promising", "o", colour=BLUE),
    "not recommended": Style("trigger, not recommended", ".", colour=GREY, filled=True, size=4),
}
CHOSEN = Style("recommended", "*", colour=BLUE, filled=True, size=12)
KNOWN = {
    "adv_post": Style("AdvPost, by strength", "^", "--", ORANGE),
    "adv_in": Style("AdvIN, by strength", "v", ":", ORANGE),
    "faap": Style("FAAP, by strength", "P", "-.", ORANGE),
    "threshold": Style("threshold shift", "", "-."),
    "threshold_matched": Style("threshold shift, same positive rate", "|"),
    "constant": Style("constant predictor", "x"),
    "random": Style("random trigger", "+"),
    "shrink": Style("shrunk image alone", "s"),
    "black": Style("black in the trigger's place", "s"),
    "strength_zero": Style("trigger for utility alone", "D"),
}

SPARE_MARKERS = ("p", "h", "8", "<", ">", "d", "X")
"""Markers of systems that have no style of their own."""


@dataclass(frozen=True)
class Dot:
    """One system at one setting: its report on a split, and the label beside it."""

    report: Json
    label: str = ""


@dataclass(frozen=True)
class Series:
    """The dots of one style, in the order in which a line joins them."""

    style: Style
    dots: Sequence[Dot]


def draw_front(path: Path, summary: Json) -> Path:
    """Draw `front_figure` into a file."""
    with rc_context(MATPLOTLIB_STYLE):
        return save(front_figure(summary), path)


def front_figure(summary: Json) -> Figure:
    """Two panels, the trained criterion's gap and the other one's, 95 % intervals; lower right is better."""
    criterion = summary["config"]["objective"]["criterion"]
    series = list(_series(summary))
    bare = summary["bare"][PLOTTED_SPLIT]
    figure = NotebookFigure(figsize=(9.2, 4.9))
    panels = figure.subplots(1, 2)
    for panel, shown in zip(panels, (criterion, other_criterion(criterion)), strict=True):
        _panel(panel, series, shown, "trained" if shown == criterion else "not trained")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=min(4, len(names)))
    rows = -(-len(names) // 4)
    figure.suptitle(
        f"{summary['model']}, {PLOTTED_SPLIT} split, n = {format_count(bare['n'])}, 95 % intervals", fontsize=10
    )
    figure.subplots_adjust(left=0.08, right=0.985, top=0.86, bottom=0.13 + 0.045 * rows, wspace=0.24)
    return figure


def _series(summary: Json) -> Iterable[Series]:
    """The series to draw, with comparisons where the run made them."""
    yield from _comparisons(summary)
    dots = [(one, Dot(one["splits"][PLOTTED_SPLIT], f"{one['strength']:g}")) for one in summary["candidates"]]
    dots.sort(key=lambda pair: pair[0]["strength"])
    yield Series(BY_STRENGTH, [Dot(dot.report) for _, dot in dots])
    for status, style in STATUS_STYLES.items():
        yield Series(style, [dot for one, dot in dots if one["selection"]["status"] == status])
    for one, dot in dots:
        if one["strength"] == summary["best"]:
            name = CHOSEN.name if alternatives(summary)["better"] is None else "best trigger"
            filled = one["selection"]["status"] == "certified"
            yield Series(replace(CHOSEN, name=name, filled=filled), [Dot(dot.report)])
    yield Series(NO_TRIGGER, [Dot(summary["bare"][PLOTTED_SPLIT])])


def _comparisons(summary: Json) -> Iterable[Series]:
    systems: dict[str, list[Json]] = {}
    for one in summary.get("comparisons", ()):
        systems.setdefault(one["system"], []).append(one)
    spare = iter(SPARE_MARKERS * 9)
    for system, ones in systems.items():
        style = KNOWN.get(system) or Style(system_name(system), next(spare))
        if system in SWEPT:
            ones = sorted(ones, key=lambda one: one["strength"])
        elif system in CURVES and style.marker:
            ones = [one for one in ones if one["chosen"]]
        yield Series(style, [Dot(one["splits"][PLOTTED_SPLIT], _label_of(one)) for one in ones])


def _label_of(one: Json) -> str:
    return f"{one['strength']:g}" if one["system"] in SWEPT else ""


def _panel(axes: Axes, series: Sequence[Series], criterion: str, role: str) -> None:
    labels: list[tuple[float, float, str, str]] = []
    near: list[tuple[float, float]] = []
    far: list[str] = []
    edge = _left_edge(series, criterion)
    for one in series:
        points = [point for dot in one.dots if (point := _point(dot, criterion))]
        style = one.style
        inside = [(x, y, dot) for x, y, dot in points if x >= edge or not style.marker]
        far += [
            f"{style.name} at {format_number(x)}, gap {format_number(y)}"
            for x, y, _ in points
            if x < edge and style.marker
        ]
        if not inside:
            continue
        _draw(axes, style, inside, criterion)
        near += [(x, y) for x, y, _ in inside if style.marker]
        labels += [(x, y, dot.label, style.colour) for x, y, dot in inside if dot.label]
    name = objective_gap(series[-1].dots[0].report, criterion)[0]
    axes.set(xlabel="accuracy (share of rows)", ylabel=f"{name} (0 to 1)", title=f"{name} ({role})")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=max(axes.get_xlim()[0], edge - 0.01))
    axes.grid(linewidth=0.3, color="0.85")
    axes.set_axisbelow(True)
    if far:
        axes.text(0.01, 0.01, "← " + "; ".join(far), transform=axes.transAxes, fontsize=7, color=GREY, va="bottom")
    _label(axes, labels, near)


def _draw(axes: Axes, style: Style, points: Sequence[tuple[float, float, Dot]], criterion: str) -> None:
    x, y = [point[0] for point in points], [point[1] for point in points]
    face = style.colour if style.filled else "white"
    if style.marker not in ("", CHOSEN.marker):
        for at, height, dot in points:
            accuracy, gap = dot.report["overall"]["accuracy"], objective_gap(dot.report, criterion)[1]
            axes.errorbar([at], [height], _reach(gap), _reach(accuracy), fmt="none", ecolor=style.colour,
                          elinewidth=0.6, alpha=0.45, zorder=2)  # fmt: skip
    axes.plot(x, y, marker=style.marker, linestyle=style.line, color=style.colour, linewidth=1,
              markersize=style.size,
              markerfacecolor=face, markeredgewidth=1.2, label=style.name,
              clip_on=not style.marker, zorder=4 if style.marker == CHOSEN.marker else 3)  # fmt: skip


def _point(dot: Dot, criterion: str) -> tuple[float, float, Dot] | None:
    accuracy, gap = dot.report["overall"]["accuracy"]["value"], objective_gap(dot.report, criterion)[1]["value"]
    return None if accuracy is None or gap is None else (accuracy, gap, dot)


def _left_edge(series: Sequence[Series], criterion: str) -> float:
    """Left limit of the accuracies, short of controls so far below that they would squeeze the picture."""
    drawn = [one for one in series if one.style in (NO_TRIGGER, BY_STRENGTH)]
    found = [point[0] for one in drawn for dot in one.dots if (point := _point(dot, criterion))]
    return min(found, default=0.0) - max(0.06, 1.0 * (max(found, default=0.0) - min(found, default=0.0)))


def _reach(figure: Json) -> list[list[float]] | None:
    """Lengths of an interval below and above its value."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None or low is None or high is None:
        return None
    return [[max(value - low, 0.0)], [max(high - value, 0.0)]]


def _label(axes: Axes, labels: Sequence[tuple[float, float, str, str]], near: Sequence[tuple[float, float]]) -> None:
    """Write each label at the first place around its dot that no dot and no other label covers, inside the axes."""
    pixels, inside = axes.transData.transform, axes.get_window_extent().extents
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in (pixels(point) for point in near)]
    for x, y, text, colour in labels:
        at_x, at_y = pixels((x, y))
        wide, high = 6.0 * len(text) + 2, 9.0
        spots = [(7, 4), (7, -12), (-7 - wide, 4), (-7 - wide, -12), (-wide / 2, 9), (-wide / 2, -18), (12, -4)]
        boxes = [(at_x + dx, at_y + dy, at_x + dx + wide, at_y + dy + high) for dx, dy in spots]
        covered = [sum(_overlap(box, other) for other in taken) - _overlap(box, inside) for box in boxes]
        best = min(range(len(spots)), key=covered.__getitem__)
        taken.append(boxes[best])
        offset = (spots[best][0] * 72 / axes.figure.dpi, spots[best][1] * 72 / axes.figure.dpi)
        axes.annotate(text, (x, y), xytext=offset, textcoords="offset points", fontsize=8, color=colour, zorder=5)


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
