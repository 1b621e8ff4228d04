"""Selection or scoring rates and impact ratios as New York City's rules for Local Law 144 define them (6 RCNY 5-300).

A category's impact ratio is its rate over the highest rate of any category. It is taken by sex, by race or ethnicity,
and by both together; a scoring rate is the share of a category above the median score of the whole sample. The rules
state no ratio that passes, and none is stated here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fairtrigger.auditing.audited_counts import AuditInput, AuditTerms, Group, JsonDict, VersionCells, group_name
from triggers.errors import DataError
from triggers.metrics import wilson
from triggers.metrics.intervals import critical

SMALL_SHARE = 0.02
"""Share of the data under which a category may be left out of the ratios."""
SEX = ("sex", "gender")
RACE = ("race", "ethnicity", "race_ethnicity", "race/ethnicity", "ethnic_group")
"""Names of attributes that are taken for sex and race, compared in lower case."""


def ll144_template(found: AuditInput, period: Sequence[str] | None, exclusion: str | None) -> JsonDict:
    """What the template was asked: the attributes it takes, the data's period, and why small categories are left out.
    `scores_only` says that the decisions are nothing but the scores above their median.

    Raises DataError without an attribute of sex and one of race or ethnicity.
    """
    terms, columns = found.terms, found.source.get("columns", {})
    if terms.overlapping:
        raise DataError("Local Law 144 compares categories of which everybody has one; overlapping groups are not.")
    return {
        "name": "ll144",
        "sex": _attribute(terms, SEX, "sex"),
        "race": _attribute(terms, RACE, "race"),
        "scores_only": "decision" not in columns and any(each.scores for each in found.versions.values()),
        "period": list(period) if period else None,
        "exclusion": exclusion,
    }


def _attribute(terms: AuditTerms, names: Sequence[str], wanted: str) -> str:
    found = [each for each in terms.attributes if each.casefold().replace(" ", "_") in names]
    if len(found) != 1:
        raise DataError(
            f"The template ll144 needs one attribute {wanted}, and the groups have {', '.join(terms.attributes)}: "
            f"name its column, as --group {wanted}=COLUMN."
        )
    return found[0]


def impact_ratios(found: AuditInput, template: Mapping[str, Any]) -> JsonDict:
    """Tables by version: of every label's selection rate (of two labels, the positive one's), and of scoring rates."""
    return {
        name: _selection_tables(version, found.terms, template) + _scoring_tables(version, found.terms, template)
        for name, version in found.versions.items()
    }


def _selection_tables(version: VersionCells, terms: AuditTerms, template: Mapping[str, Any]) -> list[JsonDict]:
    if template["scores_only"]:
        return []
    watched = [terms.positive] if len(terms.labels) == 2 else range(len(terms.labels))
    tables = []
    for label in watched:
        rows = Counter[tuple[Group, bool]]()
        for (group, _, prediction), n in version.cells.items():
            rows[group, prediction == label] += n
        tables += _tables(rows, terms, template, {"rate": "selection_rate", "of": terms.labels[label]})
    return tables


def _scoring_tables(version: VersionCells, terms: AuditTerms, template: Mapping[str, Any]) -> list[JsonDict]:
    if version.scores is None:
        return []
    of = {"rate": "scoring_rate", "of": f"{version.scores.column} above {version.scores.median:g}"}
    return _tables(version.scores.cells, terms, template, of)


def _tables(
    rows: Mapping[tuple[Group, bool], int], terms: AuditTerms, template: Mapping[str, Any], of: JsonDict
) -> list[JsonDict]:
    sex, race = template["sex"], template["race"]
    choices = {"sex": (sex,), "race or ethnicity": (race,), "intersection": (race, sex)}
    return [of | {"by": by, **_table(rows, terms, over, template["exclusion"])} for by, over in choices.items()]


def _table(
    rows: Mapping[tuple[Group, bool], int], terms: AuditTerms, over: Sequence[str], exclusion: str | None
) -> JsonDict:
    places = [terms.attributes.index(each) for each in over]
    n, hits, unknown = Counter[Group](), Counter[Group](), 0
    for (group, hit), count in rows.items():
        values = tuple(group[place] for place in places)
        if None in values:
            unknown += count
            continue
        n[values] += count
        hits[values] += count * hit
    all_rows = n.total()
    small = {values for values in n if n[values] < SMALL_SHARE * all_rows}
    left_out = small if exclusion else set()
    rates = {values: hits[values] / n[values] for values in n if n[values]}
    highest = max((rate for values, rate in rates.items() if values not in left_out), default=0.0)
    z = critical(terms.confidence)
    categories = []
    for values in sorted(rates, key=str):
        low, high = wilson(hits[values], n[values], z)
        ratio = None if values in left_out or highest == 0 else rates[values] / highest
        categories.append(
            {
                "category": group_name(over, values) if len(over) == 1 else ", ".join(map(str, values)),
                "n": n[values],
                "hits": hits[values],
                "share": n[values] / all_rows,
                "rate": rates[values],
                "low": float(low),
                "high": float(high),
                "impact_ratio": ratio,
                "below_two_percent": values in small,
                "left_out": values in left_out,
            }
        )
    return {"attributes": list(over), "n": all_rows, "unknown": unknown, "categories": categories}
