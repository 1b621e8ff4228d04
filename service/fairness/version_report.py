"""The report on one version: figures by group and by attribute, counts, flips, paired gains and warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.ledger import Cell
from triggers.metrics import Counts, FairnessReport, evaluate_counts, evaluate_pairs
from triggers.metrics.attributes import attribute_subsets, group_by_attributes, sorted_name
from triggers.metrics.fairness_report import NO_GROUP, UNKNOWN
from triggers.metrics.overlapping_groups import UNDECLARED, groups_of

LOW_SUPPORT = 30
REPORTED_RATES = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate")
CellCounts = Mapping[Cell, int]
Document = dict[str, Any]


@dataclass(frozen=True)
class ReportParams:
    """Parameters of a model's figures: number of labels, index of the selected one, confidence, overlapping groups."""

    labels: int
    pos_label: int
    confidence: float = 0.95
    overlapping: bool = False

    def report(self, counts: Counts) -> FairnessReport:
        """Every figure of some counts."""
        return evaluate_counts(counts, **vars(self))


def version_report(cells: CellCounts, terms: ReportParams) -> Document:
    """The full report on the cells of one version, JSON-ready."""
    counts = confusion_counts_of(cells)
    report = terms.report(counts)
    listed = sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] is None, item[0][1] or 0, item[0][2]))
    return report.to_dict() | {
        "attributes": attribute_reports(cells, terms),
        "counts": [{"group": g, "label": y, "prediction": h, "n": n} for (g, y, h), n in listed],
        "twins": twin_flips(cells, overlapping=terms.overlapping),
        "paired": paired_gains(cells, terms),
        "warnings": low_support(report),
    }


def confusion_counts_of(cells: CellCounts) -> Counts:
    """Counts by (group, label, prediction), as triggers.metrics needs them; twins count like other rows."""
    counts = Counter[tuple[str, int | None, int]]()
    for cell, n in cells.items():
        counts[cell.group, cell.label, cell.prediction] += n
    return counts


def regroup(cells: CellCounts, attributes: Sequence[str], *, overlapping: bool = False) -> dict[Cell, int]:
    """Counts with groups named by these attributes only or, without any, by their canonical names."""
    if overlapping:
        return dict(cells)
    found = Counter[Cell]()
    for cell, n in cells.items():
        found[
            cell._replace(group=group_by_attributes(cell.group, attributes) if attributes else sorted_name(cell.group))
        ] += n
    return dict(found)


def attribute_reports(cells: CellCounts, terms: ReportParams) -> dict[str, Document]:
    """Groups, gaps and coverage by each attribute, and each smaller combination, of names like `sex=female,age=old`."""
    chosen = [] if terms.overlapping else attribute_subsets({cell.group for cell in cells})
    found = {}
    for attributes in chosen:
        report = terms.report(confusion_counts_of(regroup(cells, attributes))).to_dict()
        found[",".join(attributes)] = {name: report[name] for name in ("groups", "gaps", "coverage")}
    return found


def paired_gains(cells: CellCounts, terms: ReportParams) -> Document | None:
    """Gains over the bare model on the twins, inputs that ran with and without the trigger; None without any."""
    joint = Counter[tuple[str, int | None, int, int]]()
    for cell, n in cells.items():
        if cell.bare is not None:
            joint[cell.group, cell.label, cell.bare, cell.prediction] += n
    return evaluate_pairs(joint, **vars(terms)).to_dict() if joint else None


def twin_flips(cells: Mapping[Cell, int], *, overlapping: bool = False) -> Document | None:
    """Predictions that the trigger changed, on the twins; None without any."""
    paired = {cell: n for cell, n in cells.items() if cell.bare is not None}
    if not paired:
        return None
    groups: dict[str, Counter[tuple[int, int]]] = {}
    for cell, n in paired.items():
        for group in groups_of(cell.group) if overlapping else (cell.group,):
            groups.setdefault(group, Counter())[cell.bare or 0, cell.prediction] += n
    return {
        "n": sum(paired.values()),
        "flipped": sum(n for cell, n in paired.items() if cell.bare != cell.prediction),
        "groups": {group: _flips(groups[group]) for group in sorted(groups)},
    }


def _flips(pairs: Counter[tuple[int, int]]) -> Document:
    flips = [{"bare": a, "with_trigger": b, "n": n} for (a, b), n in sorted(pairs.items()) if a != b]
    return {"n": pairs.total(), "flipped": sum(n for (a, b), n in pairs.items() if a != b), "flips": flips}


def low_support(report: FairnessReport) -> list[Document]:
    """Warnings about rates of known groups over fewer than LOW_SUPPORT predictions."""
    no_groups = (UNKNOWN, UNDECLARED, *((NO_GROUP,) if report.overlapping else ()))
    return [
        {"code": "low_support", "metric": rate, "group": name, "n": n}
        for name, group in report.groups.items()
        for rate in REPORTED_RATES
        if name not in no_groups and 0 < (n := getattr(group, rate).n) < LOW_SUPPORT
    ]
