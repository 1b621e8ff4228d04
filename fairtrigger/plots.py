"""Plots of runs, audits and live counts, as matplotlib figures: a notebook shows them, `figure.savefig` keeps them.

Everywhere bars are the intervals that the figures came with. Needs the extra `report`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from fairtrigger.extras import require_extra
from fairtrigger.training import TrainedRun
from triggers.errors import ConfigError, DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trainer.report.figures import TimeMark

_SHOWN_NAMES = {"bare": "no trigger", "none": "no trigger", "given": "decisions as given"}
_NO_FIGURES = ("n", "labelled", "gaps", "groups")


class Documented(Protocol):
    """What has a JSON-ready `document`: an audit, and what the client says of live fairness."""

    @property
    def document(self) -> Mapping[str, Any]:
        """All that it says."""
        ...


PlotSource: TypeAlias = TrainedRun | Documented | Mapping[str, Any] | str | Path
"""What `fairtrigger` returned, its JSON document, or the path of such a document or of a run's folder."""


def front(run: PlotSource) -> Figure:
    """Accuracy against the gap, on test: of every trained trigger, of no trigger and of rivals. Lower right is better.

    Two panels: the criterion that was trained for, and the other one. Raises ConfigError for what is no run.
    """
    require_extra("report", "matplotlib")
    from matplotlib import rc_context

    from trainer.report.figures import MATPLOTLIB_STYLE, front_figure

    document = _document(run)
    if "candidates" not in document:
        raise ConfigError("A front is of a run: give what fairtrigger.train returned, its folder or its metrics.json.")
    with rc_context(MATPLOTLIB_STYLE):
        return front_figure(document)


def group_rates(source: PlotSource, versions: Sequence[str] = ()) -> Figure:
    """Rates of every group: of an audit or of live counts by version, of a run without and with its best trigger.

    A rate that no group has is left out. `versions` chooses some, in this order. Raises ConfigError for a source that
    has no groups, or not these versions.
    """
    require_extra("report", "matplotlib")
    from matplotlib import rc_context

    from trainer.report.figures import MATPLOTLIB_STYLE, compared_reports, groups_figure

    document = _document(source)
    if "candidates" in document:
        reports = compared_reports(document)
    elif "figures" in document or "versions" in document:
        found = document["figures"] if "figures" in document else document["versions"]
        reports = {_shown(name): report for name, report in found.items()}
    else:
        raise ConfigError("Rates of groups are those of an audit, of a run or of client.fairness(...): give one.")
    chosen = _chosen(reports, versions)
    with rc_context(MATPLOTLIB_STYLE):
        return groups_figure({name: reports[name] for name in chosen})


def gaps_over_time(
    source: PlotSource, figure: str = "demographic_parity_difference", versions: Sequence[str] = ()
) -> Figure:
    """One gap, or `selection_rate` or `accuracy`, of every version over time: `client.fairness_over_time(...)`.

    Raises ConfigError for another source, a figure or version that is not there, DataError where the figure is defined
    in no step.
    """
    require_extra("report", "matplotlib")
    from matplotlib import rc_context

    from trainer.report.figures import MATPLOTLIB_STYLE, time_figure

    document = _document(source)
    if "points" not in document:
        raise ConfigError("Gaps over time are those of client.fairness_over_time(...): give what it returned.")
    points = document["points"]
    names = {name for point in points for name in point["versions"]}
    known = {_shown(name): name for name in sorted(names, key=lambda name: (name not in _SHOWN_NAMES, len(name), name))}
    lines = {name: _marks(points, known[name], figure) for name in _chosen(known, versions)}
    if not any(lines.values()):
        raise DataError(f"{figure} is defined in no step: a gap needs rows of two groups, and some need labels.")
    with rc_context(MATPLOTLIB_STYLE):
        return time_figure(lines, figure.replace("_", " "), document["step"])


def _document(source: PlotSource) -> Mapping[str, Any]:
    """The JSON document of a source. Raises ConfigError."""
    if isinstance(source, TrainedRun):
        return source.figures
    if isinstance(source, str | Path):
        return _read(Path(source))
    found = getattr(source, "document", source)
    if not isinstance(found, Mapping):
        raise ConfigError(f"{type(source).__name__} cannot be plotted: give a run, an audit or what a client returned.")
    return found


def _read(path: Path) -> Mapping[str, Any]:
    file = path / "metrics.json" if path.is_dir() else path
    try:
        found: Mapping[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be read ({error}): give a run's folder, metrics.json or audit.json."
        ) from error
    return found


def _shown(name: str) -> str:
    return _SHOWN_NAMES.get(name, name)


def _chosen(known: Iterable[str], versions: Sequence[str]) -> list[str]:
    """The names to plot: all of them, or the versions asked for. Raises ConfigError for one that is not there."""
    names, wanted = list(known), [_shown(version) for version in versions]
    for name in wanted:
        if name not in names:
            raise ConfigError(f"There is no version {name!r} here; there are {', '.join(names) or 'none'}.")
    return wanted or names


def _marks(points: Sequence[Mapping[str, Any]], version: str, figure: str) -> list[TimeMark]:
    """The figure of a version in every step that has it. Raises ConfigError for one that is not there."""
    from trainer.report.figures import TimeMark

    marks = []
    for point in points:
        found = point["versions"].get(version)
        if found is None:
            continue
        known = {name: each for name, each in found.items() if name not in _NO_FIGURES} | found["gaps"]
        if figure not in known:
            raise ConfigError(f"There is no figure {figure!r} over time; there are {', '.join(known)}.")
        if known[figure]["value"] is not None:
            since, until = (datetime.fromisoformat(point[end]) for end in ("since", "until"))
            marks.append(TimeMark(since, until, known[figure]))
    return marks
