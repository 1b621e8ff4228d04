"""An audit as sections of sentences, tables and interval plots, which the HTML page and the PDF both draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fairtrigger.auditing.audited_counts import WITHOUT_TRIGGER, shown_group
from fairtrigger.auditing.documents.page_parts import IntervalMark, IntervalPlot, PageSection, PageTable
from fairtrigger.auditing.documents.template_sections import template_sections
from trainer.formatting import Json, format_count, format_interval, format_number, join_words

RATE_WORDS = {
    "selection_rate": "selection rate",
    "accuracy": "accuracy",
    "true_positive_rate": "true positive rate",
    "false_positive_rate": "false positive rate",
}
GAP_WORDS = {
    "demographic_parity_difference": "demographic parity difference",
    "demographic_parity_ratio": "demographic parity ratio",
    "equal_opportunity_difference": "equal opportunity difference",
    "false_positive_rate_difference": "false positive rate difference",
    "equalized_odds_difference": "equalized odds difference",
    "average_odds_difference": "average odds difference",
    "accuracy_difference": "accuracy difference",
    "macro_demographic_parity_difference": "demographic parity difference, mean over labels",
    "worst_class_demographic_parity_difference": "demographic parity difference, worst label",
    "macro_average_odds_difference": "average odds difference, mean over labels",
    "worst_class_average_odds_difference": "average odds difference, worst label",
    "total_variation_distance": "total variation distance",
}


def page_title(document: Json) -> str:
    """The heading of the whole: what was audited."""
    return f"Audit of {document['model']['name'] or document['source'].get('name', 'decisions')}"


def page_sections(document: Json) -> list[PageSection]:
    """Everything that a reader is shown, in order."""
    found = [
        PageSection("words", "In plain words", points=document["findings"]),
        PageSection("facts", "What was audited", parts=[_facts(document)]),
        _key_figures(document),
        *_paired(document),
        _groups(document),
        *_by_attribute(document),
        _worst(document),
        PageSection("mind", "Mind", points=document["cautions"] or ["Every row has its groups and a true label."]),
        *template_sections(document),
        _counts(document),
    ]
    return found


def _facts(document: Json) -> PageTable:
    source, terms, made = document["source"], document["terms"], document["software"]
    rows = [("model", document["model"]["name"] or "not named")]
    if document["model"]["digest"]:
        rows.append(("model digest", document["model"]["digest"]))
    for name, version in document["versions"].items():
        said = [version["digest"] or ("no trigger" if name == WITHOUT_TRIGGER else "digest not stated")]
        said += [] if version["threshold"] is None else [f"threshold {version['threshold']:g}"]
        rows.append((f"version {name}", ", ".join(said)))
    rows += _source_rows(source)
    rows += [
        ("decisions", f"{join_words(terms['labels'])}; the selection rate is of {terms['positive']}"),
        ("groups by", join_words(terms["attributes"]) + (", overlapping" if terms["overlapping"] else "")),
        ("intervals", f"{terms['confidence'] * 100:g} %: Wilson; of differences, all pairs of groups together"),
        ("made", f"{document['created_at']} by {made['name']} {made['version']}"),
        ("digest", document["digest"]),
        ("signed", f"by key {document['signature']['key']}" if document["signature"] else "no"),
    ]
    return PageTable("What the figures are of, and who made them.", ("", ""), rows, prose=True)


def _source_rows(source: Json) -> list[tuple[str, str]]:
    rows = format_count(source["rows"]) + " rows"
    if source["kind"] == "live":
        window = source["window"]
        return [
            ("service", source["url"]),
            ("window", f"{window['name']}: {window['since'] or 'from the first prediction'} until {window['until']}"),
            ("counted", rows),
        ]
    if source["kind"] == "file":
        return [("file", f"{source['name']}, {rows}"), ("file digest", source["sha256"])]
    return [({"frame": "data frame", "metric_frame": "MetricFrame"}[source["kind"]], rows)]


def _key_figures(document: Json) -> PageSection:
    figures = document["figures"]
    rows = [["rows", *(format_count(each["n"]) for each in figures.values())]]
    rows.append(["with a true label", *(format_count(each["labelled"]) for each in figures.values())])
    for rate, words in RATE_WORDS.items():
        rows.append([f"{words}, overall", *(format_interval(each["overall"][rate]) for each in figures.values())])
    for gap, words in GAP_WORDS.items():
        if any(gap in each["gaps"] for each in figures.values()):
            rows.append([words, *(format_interval(each["gaps"].get(gap)) for each in figures.values())])
    caption = "Each with its interval; a dash is undefined. A difference of 0 and a ratio of 1 are parity."
    return PageSection("figures", "Figures", parts=[PageTable(caption, ["", *figures], rows)])


def _paired(document: Json) -> Iterator[PageSection]:
    if not document["paired"]:
        return
    tables = []
    for after, change in document["paired"].items():
        rows = [
            [
                GAP_WORDS[gap],
                format_number(gain["before"]),
                format_number(gain["after"]),
                format_interval(gain, change=True),
            ]
            for gap, gain in change["gains"].items()
        ]
        flips = f"{format_count(change['n'])} rows had both, {format_count(change['flipped'])} changed."
        head = ["", change["before"], after, "gain"]
        tables.append(PageTable(f"{after} against {change['before']} on the same rows: {flips}", head, rows))
    sentence = "A gain above 0 is a smaller difference. Its interval knows that both decided the same rows."
    yield PageSection("paired", "Version against version", [sentence], parts=tables)


def _groups(document: Json) -> PageSection:
    attributes = join_words(document["terms"]["attributes"])
    reports = {name: figures["groups"] for name, figures in document["figures"].items()}
    title = f"Groups by {attributes}" if len(document["terms"]["attributes"]) == 1 else f"Intersections: {attributes}"
    return PageSection("groups", title, parts=list(_group_parts(reports, document)))


def _by_attribute(document: Json) -> Iterator[PageSection]:
    chosen = next(iter(document["figures"].values()))["attributes"]
    for over in chosen:
        reports = {name: figures["attributes"][over]["groups"] for name, figures in document["figures"].items()}
        gaps = [
            [words, *(format_interval(each["attributes"][over]["gaps"][gap]) for each in document["figures"].values())]
            for gap, words in list(GAP_WORDS.items())[:7]
        ]
        table = PageTable("Differences between these groups.", ["", *reports], gaps)
        parts = [*_group_parts(reports, document), table]
        yield PageSection(f"by-{over.replace(',', '-')}", f"By {over.replace(',', ' and ')}", parts=parts)


def _group_parts(reports: Mapping[str, Json], document: Json) -> Iterator[PageTable | IntervalPlot]:
    """A plot of selection rates, and of accuracies where there are labels, then the table."""
    attributes = document["terms"]["attributes"]
    names = list(dict.fromkeys(group for groups in reports.values() for group in groups))
    for rate in ("selection_rate", "accuracy"):
        rows = [(shown_group(attributes, name), _marks(reports, name, rate)) for name in names]
        if sum(bool(marks) for _, marks in rows) > 1:
            of = f" ({document['terms']['positive']})" if rate == "selection_rate" else ""
            yield IntervalPlot(f"{RATE_WORDS[rate].capitalize()}{of} of each group.", list(reports), rows)
    several = len(reports) > 1
    body = [
        [
            shown_group(attributes, name),
            *([version] if several else []),
            format_count(groups[name]["n"]),
            format_count(groups[name]["labelled"]),
            *(format_interval(groups[name][rate]) for rate in RATE_WORDS),
        ]
        for name in names
        for version, groups in reports.items()
        if name in groups
    ]
    head = ["group", *(["version"] if several else []), "rows", "labelled", *RATE_WORDS.values()]
    yield PageTable("Rates with intervals; those that need labels are over labelled rows.", head, body, 1 + several)


def _marks(reports: Mapping[str, Json], name: str, rate: str) -> list[IntervalMark]:
    found = [groups.get(name, {}).get(rate) for groups in reports.values()]
    return [
        IntervalMark(place, each["value"], each["low"], each["high"])
        for place, each in enumerate(found)
        if each and each["value"] is not None
    ]


def _worst(document: Json) -> PageSection:
    rows = [
        [
            version,
            RATE_WORDS[cell["rate"]],
            shown_group(document["terms"]["attributes"], cell["group"]),
            format_count(cell["n"]),
            format_interval(cell),
            format_number(cell["to_overall"]),
            "yes" if cell["overall_outside"] else "no",
        ]
        for version, figures in document["figures"].items()
        for cell in figures["worst_cells"]
    ]
    small = document["terms"]["small_cell"]
    sentence = f"Of each rate the group farthest from everyone's, among groups of {small} rows or more."
    if not rows:
        return PageSection("worst", "Farthest from everyone", [sentence, "There are fewer than two such groups."])
    head = ["version", "rate", "group", "rows", "rate of the group", "to overall", "beyond chance"]
    return PageSection("worst", "Farthest from everyone", [sentence], parts=[PageTable("", head, rows, 3)])


def _counts(document: Json) -> PageSection:
    terms = document["terms"]
    tables = []
    for version, facts in document["versions"].items():
        rows = [
            [
                *(cell["group"][attribute] or "unknown" for attribute in terms["attributes"]),
                "not known" if cell["label"] is None else terms["labels"][cell["label"]],
                terms["labels"][cell["prediction"]],
                format_count(cell["n"]),
            ]
            for cell in facts["counts"]
        ]
        head = [*terms["attributes"], "true label", "decision", "rows"]
        tables.append(PageTable(f"All counts of {version}.", head, rows, len(head) - 1, folded=True))
    sentence = "Every figure above follows from these counts: fairtrigger audit --check audit.json recomputes them all."
    return PageSection("counts", "Counts", [sentence], parts=tables)
