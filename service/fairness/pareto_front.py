"""The Pareto front of versions on live traffic: accuracy against two fairness gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from service.fairness.version_report import CellCounts, Document, ReportParams, confusion_counts_of
from triggers.metrics import FairnessReport

VersionPoint = tuple[str, bool]
"""A version, and whether it was a shadow."""
AGAINST_ACCURACY = ("demographic_parity_difference", "equalized_odds_difference")


def pareto_front(
    versions: Mapping[str, CellCounts], shadows: Mapping[str, CellCounts], terms: ReportParams
) -> list[Document]:
    """One point per version, with intervals: accuracy, the two gaps, and per gap the versions that dominate it.

    A version that both served and was a shadow has two points, distinguished by `shadow`, since it saw other inputs.
    `beaten_by` names versions whose accuracy is at least as high and whose gap is at most as large, one of them better;
    by point estimates, which for overlapping intervals is no proof. It is None where a figure is missing.
    """
    points = {(name, False): cells for name, cells in versions.items()}
    points |= {(name, True): cells for name, cells in shadows.items()}
    reports = {point: terms.report(confusion_counts_of(cells)) for point, cells in points.items()}
    return [
        {
            "version": point[0],
            "shadow": point[1],
            "n": report.n,
            "labelled": report.labelled,
            "accuracy": asdict(report.overall.accuracy),
            **{
                gap: asdict(report.gaps[gap]) | {"beaten_by": _beaten_by(point, gap, reports)}
                for gap in AGAINST_ACCURACY
            },
        }
        for point, report in reports.items()
    ]


def _beaten_by(point: VersionPoint, gap: str, reports: Mapping[VersionPoint, FairnessReport]) -> list[str] | None:
    mine = _figures(reports[point], gap)
    if mine is None:
        return None
    found = set()
    for (name, _), report in reports.items():
        theirs = _figures(report, gap)
        if theirs and theirs != mine and theirs[0] >= mine[0] and theirs[1] <= mine[1]:
            found.add(name)
    return sorted(found)


def _figures(report: FairnessReport, gap: str) -> tuple[float, float] | None:
    accuracy, size = report.overall.accuracy.value, report.gaps[gap].value
    return None if accuracy is None or size is None else (accuracy, size)
