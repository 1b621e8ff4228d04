"""What is said about one version: its figures by group and by attribute, its counts, and what its trigger changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.event import Cell
from triggers.attributes import by, crosses, sorted_name
from triggers.fairness import NO_GROUP, UNKNOWN, Counts, FairnessReport, evaluate_counts
from triggers.identities import UNDECLARED, groups_of
from triggers.paired import evaluate_pairs

LOW_SUPPORT = 30
RATES = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate")
Cells = Mapping[Cell, int]
Document = dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """How the figures of a model are made: its number of labels, which one is selected, and what groups are."""

    labels: int
    pos_label: int
    confidence: float = 0.95
    overlapping: bool = False

    def report(self, counts: Counts) -> FairnessReport:
        """Every figure of some counts."""
        return evaluate_counts(counts, **vars(self))


def version_report(cells: Cells, terms: Terms) -> Document:
    """Everything about the cells of one version, JSON-ready."""
    counts = counts_of(cells)
    report = terms.report(counts)
    listed = sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] is None, item[0][1] or 0, item[0][2]))
    return report.to_dict() | {
        "attributes": by_attribute(cells, terms),
        "counts": [{"group": g, "label": y, "prediction": h, "n": n} for (g, y, h), n in listed],
        "twins": twins(cells, overlapping=terms.overlapping),
        "paired": paired(cells, terms),
        "warnings": low_support(report),
    }


def counts_of(cells: Cells) -> Counts:
    """The counts of triggers.fairness: twins count like other rows."""
    counts = Counter[tuple[str, int | None, int]]()
    for cell, n in cells.items():
        counts[cell.group, cell.label, cell.prediction] += n
    return counts


def compared_by(cells: Cells, attributes: Sequence[str], *, overlapping: bool = False) -> dict[Cell, int]:
    """The same counts with groups named by these attributes only, or, without any, in the one way to write them."""
    if overlapping:
        return dict(cells)
    found = Counter[Cell]()
    for cell, n in cells.items():
        found[cell._replace(group=by(cell.group, attributes) if attributes else sorted_name(cell.group))] += n
    return dict(found)


def by_attribute(cells: Cells, terms: Terms) -> dict[str, Document]:
    """Of groups like `sex=female,age=old`: groups, gaps and coverage by each attribute and each smaller cross."""
    chosen = [] if terms.overlapping else crosses({cell.group for cell in cells})
    found = {}
    for attributes in chosen:
        report = terms.report(counts_of(compared_by(cells, attributes))).to_dict()
        found[",".join(attributes)] = {name: report[name] for name in ("groups", "gaps", "coverage")}
    return found


def paired(cells: Cells, terms: Terms) -> Document | None:
    """The gain over the bare model on the same inputs, from those that ran both ways. None if there are none."""
    joint = Counter[tuple[str, int | None, int, int]]()
    for cell, n in cells.items():
        if cell.bare is not None:
            joint[cell.group, cell.label, cell.bare, cell.prediction] += n
    return evaluate_pairs(joint, **vars(terms)).to_dict() if joint else None


def twins(cells: Mapping[Cell, int], *, overlapping: bool = False) -> Document | None:
    """How the trigger changed predictions, from those made twice: with it, and bare. None if there are none."""
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
    """Rates of known groups that stand on fewer than 30 predictions."""
    no_groups = (UNKNOWN, UNDECLARED, *((NO_GROUP,) if report.overlapping else ()))
    return [
        {"code": "low_support", "metric": rate, "group": name, "n": n}
        for name, group in report.groups.items()
        for rate in RATES
        if name not in no_groups and 0 < (n := getattr(group, rate).n) < LOW_SUPPORT
    ]
