"""The sections of an audit that a template adds: Local Law 144, and Annex IV of the EU AI Act."""

from __future__ import annotations

from collections.abc import Iterator

from fairtrigger.auditing.audit_words import period_words
from fairtrigger.auditing.documents.annex_iv import annex_points
from fairtrigger.auditing.documents.page_parts import PageSection, PageTable
from trainer.formatting import Json, format_count, format_interval, format_number


def template_sections(document: Json) -> Iterator[PageSection]:
    """The section of the template that was asked for, if it has one."""
    template = document["template"]
    if template and template["name"] == "ll144":
        yield _ll144(document)
    if template and template["name"] == "ai-act":
        points = annex_points(document)
        rows = [(each.point, each.asks, each.filled or "open") for each in points]
        sentences = [
            "What these figures can say to the points of Annex IV. A person must check and complete it; open points "
            "have nothing here.",
            f"{sum(each.filled is not None for each in points)} of {len(points)} points have something.",
        ]
        table = PageTable("", ("point", "asks for", "this audit"), rows, prose=True)
        yield PageSection("annex-iv", "EU AI Act, Annex IV", sentences, parts=[table])


def _ll144(document: Json) -> PageSection:
    template = document["template"]
    sentences = [
        *period_words(template["period"], document["created_at"]),
        "An impact ratio is a category's rate over the highest in its table. The rules state no ratio that passes.",
    ]
    if template["exclusion"]:
        sentences.append(f"Categories under 2 % of the data are left out of the ratios: {template['exclusion']}")
    several = len(document["impact_ratios"]) > 1
    parts = [
        _ratio_table(version if several else "", table)
        for version, tables in document["impact_ratios"].items()
        for table in tables
    ]
    points = ["Open: who the auditor is and their independence, the distribution date of the tool, its publication."]
    return PageSection("ll144", "New York City Local Law 144", sentences, points, parts)


def _ratio_table(version: str, table: Json) -> PageTable:
    rate = table["rate"].replace("_", " ")
    rows = [
        [
            row["category"],
            format_count(row["n"]),
            format_count(row["hits"]),
            f"{row['share']:.1%}" + (", under 2 %" if row["below_two_percent"] else ""),
            format_interval({**row, "value": row["rate"]}),
            "left out" if row["left_out"] else format_number(row["impact_ratio"]),
        ]
        for row in table["categories"]
    ]
    start = f"{version}, by {table['by']}" if version else f"By {table['by']}"
    unknown = f"{format_count(table['unknown'])} not included, as their category is unknown."
    hits = "above" if table["rate"] == "scoring_rate" else "selected"
    head = ["category", "people", hits, "share", rate, "impact ratio"]
    return PageTable(f"{start}, {rate} of {table['of']}. {unknown}", head, rows)
