"""The front of versions on live traffic: which are as fair and as accurate as any other, and which are beaten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from service.version_report import Cells, Document, Terms, counts_of
from triggers.fairness import FairnessReport

AGAINST_ACCURACY = ("demographic_parity_difference", "equalized_odds_difference")


def front(versions: Mapping[str, Cells], terms: Terms) -> list[Document]:
    """One point per version, with intervals: accuracy, the two gaps, and per gap who beats it.

    A version is beaten by one whose accuracy is at least as high and whose gap is at most as large, one of them better;
    by what was measured, which for overlapping intervals is no proof. `beaten_by` is null where a figure is missing.
    """
    reports = {name: terms.report(counts_of(cells)) for name, cells in versions.items()}
    return [
        {
            "version": name,
            "n": report.n,
            "labelled": report.labelled,
            "accuracy": asdict(report.overall.accuracy),
            **{
                gap: asdict(report.gaps[gap]) | {"beaten_by": _beaten_by(name, gap, reports)}
                for gap in AGAINST_ACCURACY
            },
        }
        for name, report in reports.items()
    ]


def _beaten_by(name: str, gap: str, reports: Mapping[str, FairnessReport]) -> list[str] | None:
    mine = _point(reports[name], gap)
    if mine is None:
        return None
    others = {other: point for other, report in reports.items() if (point := _point(report, gap))}
    return [other for other, point in others.items() if point != mine and point[0] >= mine[0] and point[1] <= mine[1]]


def _point(report: FairnessReport, gap: str) -> tuple[float, float] | None:
    accuracy, size = report.overall.accuracy.value, report.gaps[gap].value
    return None if accuracy is None or size is None else (accuracy, size)
