"""The terminal view of an overview: sentences, and two tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import hypot

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trainer.config import Criterion
from trainer.evaluation.power import CertificationPower, VisibleGap
from trainer.evaluation.recommendation import MEASURES
from trainer.evaluation.selection import recalls, selection_gap
from trainer.formatting import format_count, format_interval, format_number, join_words
from trainer.overview.bare_sample import BareSample
from trainer.overview.overview import Overview, validation_parts
from trainer.overview.part_rows import PART_ORDER
from triggers.metrics import FairnessReport, wilson
from triggers.metrics.fairness_report import GroupReport
from triggers.metrics.intervals import critical

MOST_GROUPS = 20
"""Groups that the tables have rows for: the largest ones."""
MOST_SIZES = 3
NARROWEST = 110
"""Columns where the output is no terminal."""


def print_overview(overview: Overview, command: str) -> None:
    """Print an overview, and the `command` that trains."""
    console = Console() if Console().is_terminal else Console(width=NARROWEST)

    def say(*lines: str) -> None:
        for line in lines:
            console.print(line, markup=False, highlight=False)

    say(*_data(overview))
    console.print(_part_table(overview))
    if overview.bare and overview.report:
        say(_sample(overview.bare))
        console.print(_rate_table(overview, overview.report))
        say(*_overall(overview, overview.bare, overview.report))
    elif overview.config.base:
        fitted = format_count(overview.parts.size("base"))
        say(f"{overview.config.model.bundle} is not there: it would be fitted first, on the {fitted} rows of base.")
    say("", *_power(overview), "", *(f"caution: {line}" for line in overview.cautions))
    advice = "  (see the cautions first)" if overview.cautions else ""
    console.print(f"Next: {command}{advice}", markup=False, highlight=False, soft_wrap=True)


def _data(overview: Overview) -> Iterator[str]:
    config, parts = overview.config, overview.parts
    used, inputs = sum(map(parts.size, PART_ORDER)), f"{config.modality}s"
    yield f"{config.data.path}, format {config.data.format}: {format_count(overview.source_rows)} {inputs}"
    if used < overview.source_rows:
        yield f"rows in a part: {format_count(used)}"
    marked = [f"{name} (selected)" if at == parts.pos_label else name for at, name in enumerate(parts.label_names)]
    yield f"labels ({join_words(config.data.label)}): {', '.join(marked)}"
    groups = join_words(config.data.group) or "words in the texts"
    overlap = ", may overlap" if parts.overlapping else ""
    yield f"groups ({groups}{overlap}): {_some(parts.groups)}"
    yield from overview.notes


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_GROUPS
    return ", ".join(names[:MOST_GROUPS]) + (f" and {more} more" if more > 0 else "")


def _shown_groups(overview: Overview) -> list[str]:
    """The largest groups, in the order of the data."""
    parts, rows = overview.parts, overview.parts.rows(*PART_ORDER)
    sizes = {group: sum(n for (_, own), n in rows.items() if own == group) for group in parts.groups}
    largest = sorted(sizes, key=lambda group: -sizes[group])[:MOST_GROUPS]
    return [group for group in parts.groups if group in largest]


def _part_table(overview: Overview) -> Table:
    parts = overview.parts
    table = Table("group", "label", box=SIMPLE_HEAD, title="Rows of every part, and each label's share of the group")
    for part in PART_ORDER:
        table.add_column(part, justify="right", no_wrap=True)
    rows = {part: parts.rows(part) for part in PART_ORDER}
    for group in (None, *_shown_groups(overview)):
        for label, name in enumerate(parts.label_names):
            cells = []
            for part in PART_ORDER:
                n = rows[part].get((label, group), 0)
                total = sum(rows[part].get((each, group), 0) for each in range(len(parts.label_names)))
                cells.append(f"{format_count(n)}  {n / total:4.0%}" if total else "0")
            table.add_row(("all" if group is None else group) if label == 0 else "", name, *cells)
        table.add_section()
    hidden = len(parts.groups) - MOST_GROUPS
    table.caption = f"and {hidden} smaller group{'s' * (hidden > 1)}" if hidden > 0 else None
    return table


def _sample(bare: BareSample) -> str:
    every = bare.rows == bare.of
    which = "all" if every else f"{format_count(bare.rows)}, drawn at random, of"
    text = f"The bare model on {which} {format_count(bare.of)} validation rows"
    if bare.sizes:
        sizes = [f"{width} x {height}" for (width, height), _ in bare.sizes.most_common(MOST_SIZES)]
        more = ", ..." if len(bare.sizes) > MOST_SIZES else ""
        text += f"; images of {', '.join(sizes)}{more} pixels"
    return text


def _rate_table(overview: Overview, report: FairnessReport) -> Table:
    positive = overview.parts.label_names[overview.parts.pos_label]
    table = Table("group", box=SIMPLE_HEAD, caption=f"positive: {positive}; 95% intervals")
    for column in ("rows", "selection rate", "true positive rate", "false positive rate", "accuracy"):
        table.add_column(column, justify="right")
    table.add_row("all", *_rates(report.overall))
    for name in _shown_groups(overview):
        if name in report.groups:
            table.add_row(name, *_rates(report.groups[name]))
    return table


def _rates(group: GroupReport) -> list[str]:
    rates = (group.selection_rate, group.true_positive_rate, group.false_positive_rate, group.accuracy)
    return [format_count(group.n), *(format_interval(asdict(rate)) for rate in rates)]


def _overall(overview: Overview, bare: BareSample, report: FairnessReport) -> Iterator[str]:
    yield f"balanced accuracy {format_interval(_balanced_accuracy(overview, bare))}"
    for criterion in overview.visible:
        name, gap = selection_gap(report, criterion)
        own = "  (the criterion of this run)" if criterion == overview.config.objective.criterion else ""
        yield f"{name} {format_interval(asdict(gap))}{own}"


def _balanced_accuracy(overview: Overview, bare: BareSample) -> dict[str, float]:
    """The mean of the labels' recalls, with limits out of theirs."""
    found = [
        counts
        for (_, group), counts in recalls(bare.counts, overlapping=overview.parts.overlapping).items()
        if group is None
    ]
    values = [hits / n for hits, n in found]
    limits = [wilson(hits, n, critical(0.95)) for hits, n in found]
    below = hypot(*(value - low for value, (low, _) in zip(values, limits, strict=True)))
    above = hypot(*(high - value for value, (_, high) in zip(values, limits, strict=True)))
    mean, size = sum(values) / len(values), len(values)
    return {"value": mean, "low": mean - below / size, "high": mean + above / size}


def _power(overview: Overview) -> Iterator[str]:
    """Sentences on the smallest visible gap, and on what can be certified."""
    yield "What a run of this size can show, with 80% probability"
    yield f"  on test, {format_count(overview.parts.size('test'))} rows, a gap whose interval excludes 0:"
    for criterion, gaps in overview.visible.items():
        yield f"    {_gap_name(overview, criterion)} {_visible(gaps, overlapping=overview.parts.overlapping)}"
    if not overview.bare:
        yield "    if the model's rates are near one half, where intervals are widest"
    if overview.certified:
        yield from _certification(overview, overview.certified)


def _gap_name(overview: Overview, criterion: Criterion) -> str:
    part = overview.parts
    return selection_gap(part.report(part.answered_rightly("test")), criterion)[0]


def _visible(gaps: Sequence[VisibleGap], *, overlapping: bool) -> str:
    if not gaps:
        return "cannot be measured"
    shown = []
    for gap in gaps:
        value = "not even the largest" if gap.value is None else f"from {format_number(gap.value)} on"
        where = f"of {gap.groups[0]!r}" if overlapping else "between " + join_words(map(repr, gap.groups))
        shown.append(f"{value} {where}")
    return ", ".join(shown)


def _certification(overview: Overview, found: CertificationPower) -> Iterator[str]:
    select = overview.config.select
    most, delta = format_number(select.max_accuracy_drop), format_number(select.delta, 2)
    where = join_words(validation_parts(overview.config))
    yield f"  on {where}, {format_count(found.rows)} rows, if a trigger changes {found.changed:.0%} of the answers,"
    yield f"  that it loses at most {most} of {MEASURES[select.measure]} (certified, delta {delta}):"
    if found.largest_loss is None:
        yield "    never, too few rows"
    elif found.largest_loss < 0:
        yield f"    if it truly gains {format_number(-found.largest_loss)} or more"
    else:
        yield f"    if it truly loses {format_number(found.largest_loss)} or less"
    yield f"    if it loses nothing: {found.no_loss:.0%} probability at this size{_needed(found)}"


def _needed(found: CertificationPower) -> str:
    if found.rows_needed is None:
        return "; 80% is out of reach"
    return f"; 80% from about {format_count(found.rows_needed)} rows on"
