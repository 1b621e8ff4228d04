"""Every figure of an audit from its counts, and the counts back out of a written audit.

`derive` is the only way from counts to figures: an audit is made by it, and checked by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairtrigger.auditing.audit_words import audit_cautions, findings
from fairtrigger.auditing.audited_counts import (
    SMALL_CELL,
    AuditInput,
    AuditTerms,
    Group,
    JsonDict,
    ScoreCells,
    VersionCells,
    named_counts,
    named_pairs,
)
from fairtrigger.auditing.impact_ratios import impact_ratios
from triggers.metrics import FairnessReport, evaluate_counts, evaluate_pairs
from triggers.metrics.rates import never_compared

FORMAT = "fairtrigger-audit/1"
RATES = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate")


def audit_facts(found: AuditInput, software: Mapping[str, str], made_at: str, template: JsonDict | None) -> JsonDict:
    """What an audit states and does not compute: source, model, terms, all counts. JSON-ready."""
    terms = found.terms
    return {
        "format": FORMAT,
        "software": dict(software),
        "created_at": made_at,
        "model": dict(found.model),
        "source": dict(found.source),
        "terms": {
            "labels": list(terms.labels),
            "positive": terms.labels[terms.positive],
            "attributes": list(terms.attributes),
            "confidence": terms.confidence,
            "overlapping": terms.overlapping,
            "small_cell": SMALL_CELL,
        },
        "template": template,
        "versions": {name: _version_facts(version, terms) for name, version in found.versions.items()},
        "pairs": [
            {
                "before": before,
                "after": after,
                "counts": [
                    {"group": _named(group, terms), "label": label, "before": first, "after": second, "n": n}
                    for (group, label, first, second), n in _ordered(cells)
                ],
            }
            for (before, after), cells in found.pairs.items()
        ],
    }


def input_of(document: Mapping[str, Any]) -> AuditInput:
    """The counts of a written audit. Raises KeyError, ValueError or TypeError for what is no audit."""
    said = document["terms"]
    labels, attributes = tuple(said["labels"]), tuple(said["attributes"])
    terms = AuditTerms(labels, labels.index(said["positive"]), attributes, said["confidence"], said["overlapping"])
    pairs = {
        (each["before"], each["after"]): {
            (_values(cell["group"], terms), cell["label"], cell["before"], cell["after"]): cell["n"]
            for cell in each["counts"]
        }
        for each in document["pairs"]
    }
    versions = {name: _version_of(facts, terms) for name, facts in document["versions"].items()}
    return AuditInput(terms, versions, document["source"], document["model"], pairs)


def derive(found: AuditInput, template: Mapping[str, Any] | None) -> JsonDict:
    """All that follows from the counts: figures by version, paired changes, worst cells, cautions, words."""
    terms = found.terms
    figures = {name: _figures(version, terms) for name, version in found.versions.items()}
    paired = {
        after: {"before": before} | evaluate_pairs(named_pairs(cells, terms), **terms.evaluation()).to_dict()
        for (before, after), cells in found.pairs.items()
    }
    derived: JsonDict = {"figures": figures, "paired": paired, "missing": _missing(found)}
    if template is not None and template["name"] == "ll144":
        derived["impact_ratios"] = impact_ratios(found, template)
    derived["cautions"] = audit_cautions(found, derived)
    derived["findings"] = findings(found, derived)
    return derived


def _figures(version: VersionCells, terms: AuditTerms) -> JsonDict:
    """The figures of one version by all attributes, and by each smaller choice of them."""
    report = _report(version, terms, terms.attributes)
    smaller = {
        ",".join(over): _report(version, terms, over).to_dict() for over in terms.subsets() if over != terms.attributes
    }
    by_attributes = {
        over: {name: found[name] for name in ("groups", "gaps", "coverage")} for over, found in smaller.items()
    }
    return report.to_dict() | {
        "attributes": by_attributes,
        "worst_cells": _worst_cells(report),
        "small_cells": _small_cells(report),
    }


def _report(version: VersionCells, terms: AuditTerms, over: Sequence[str]) -> FairnessReport:
    return evaluate_counts(named_counts(version.cells, terms, over), **terms.evaluation())


def _compared(report: FairnessReport) -> list[str]:
    out = never_compared(list(report.groups), overlapping=report.overlapping)
    return [name for name in report.groups if name not in out]


def _worst_cells(report: FairnessReport) -> list[JsonDict]:
    """Of each rate, the group farthest from the overall rate among those that are not too small to say."""
    found = []
    for rate in RATES:
        overall = getattr(report.overall, rate)
        cells = {name: getattr(report.groups[name], rate) for name in _compared(report)}
        large = {name: each for name, each in cells.items() if each.n >= SMALL_CELL}
        if overall.value is None or len(large) < 2:
            continue
        name = max(large, key=lambda each: abs(large[each].value - overall.value))
        cell = large[name]
        apart = overall.value < cell.low or overall.value > cell.high
        distance = cell.value - overall.value
        found.append({"rate": rate, "group": name, **vars(cell), "to_overall": distance, "overall_outside": apart})
    return found


def _small_cells(report: FairnessReport) -> list[JsonDict]:
    """Rates of known groups over too few rows to say anything."""
    return [
        {"rate": rate, "group": name, "n": n}
        for name in _compared(report)
        for rate in RATES
        if 0 < (n := getattr(report.groups[name], rate).n) < SMALL_CELL
    ]


def _missing(found: AuditInput) -> JsonDict:
    """Rows without a group, by attribute, and without a true label, by version."""
    terms, missing = found.terms, {}
    for name, version in found.versions.items():
        cells = version.cells.items()
        missing[name] = {
            "rows": sum(n for _, n in cells),
            "unlabelled": sum(n for (_, label, _), n in cells if label is None),
            "without_group": {
                attribute: sum(n for (group, _, _), n in cells if group[place] is None)
                for place, attribute in enumerate(terms.attributes)
            },
            "without_any_of_them": sum(n for (group, _, _), n in cells if None in group),
        }
    return missing


def _version_facts(version: VersionCells, terms: AuditTerms) -> JsonDict:
    scores = version.scores
    return {
        "digest": version.digest,
        "threshold": version.threshold,
        "counts": [
            {"group": _named(group, terms), "label": label, "prediction": prediction, "n": n}
            for (group, label, prediction), n in _ordered(version.cells)
        ],
        "scores": scores
        and {
            "column": scores.column,
            "median": scores.median,
            "counts": [
                {"group": _named(group, terms), "above": above, "n": n} for (group, above), n in _ordered(scores.cells)
            ],
        },
    }


def _version_of(facts: Mapping[str, Any], terms: AuditTerms) -> VersionCells:
    cells = {(_values(cell["group"], terms), cell["label"], cell["prediction"]): cell["n"] for cell in facts["counts"]}
    said = facts["scores"]
    above = {(_values(cell["group"], terms), cell["above"]): cell["n"] for cell in said["counts"]} if said else {}
    scores = ScoreCells(said["column"], said["median"], above) if said else None
    return VersionCells(cells, facts["digest"], facts["threshold"], scores)


def _named(group: Group, terms: AuditTerms) -> dict[str, str | None]:
    return dict(zip(terms.attributes, group, strict=True))


def _values(group: Mapping[str, str | None], terms: AuditTerms) -> Group:
    return tuple(group[attribute] for attribute in terms.attributes)


def _ordered(cells: Mapping[Any, int]) -> list[tuple[Any, int]]:
    """Cells in an order that does not depend on how they were found; empty ones left out."""
    filled = ((cell, n) for cell, n in cells.items() if n)
    return sorted(filled, key=lambda item: [(part is None, str(part)) for part in (*item[0][0], *item[0][1:])])
