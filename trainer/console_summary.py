"""The terminal summary of a finished run: the table of all strengths, and the paths of its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trainer.config import Criterion, RunConfig
from trainer.evaluation.comparison_record import short_rows
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import selection_gap
from trainer.publish import store_url
from trainer.report import report_of
from trainer.train import FinishedRun
from triggers.metrics import FairnessReport
from triggers.storage import without_password


def print_summary(config: RunConfig, folder: Path, finished: FinishedRun) -> None:
    """Print the table of all strengths, the notes of selection, and the paths of the files."""
    console = Console()
    console.print(_table(config, finished))
    for note in finished.result.notes:
        console.print(note, markup=False, highlight=False)
    names = {path.name for path in finished.files}
    for what, name in (("Figures", "metrics.json"), ("Card", "model-card.md"), ("Report", "report.html")):
        if name in names:
            console.print(f"{what}: {folder / name}", markup=False, highlight=False, soft_wrap=True)
    if finished.published:
        name = finished.classifier.name
        command = f"fairtrigger --store {without_password(store_url(config))} list {name}"
        console.print(f"Look at them: {command}", markup=False, highlight=False, soft_wrap=True)


def _table(config: RunConfig, finished: FinishedRun) -> Table:
    classifier, outcome = finished.classifier, finished.result
    versions = {place.strength: f"v{place.version}" for place in finished.published}
    rows = [("none", outcome.bare, "")]
    for at, candidate in enumerate(outcome.candidates):
        mark = " best" if at == outcome.best else ""
        rows.append((f"{candidate.strength:g}", candidate.counts, versions.get(candidate.strength, "") + mark))
    title = f"{classifier.name}: {config.trigger.kind} trigger, {config.objective.criterion.replace('_', ' ')}"
    table = Table("strength", title=title, box=SIMPLE_HEAD)
    for split in ("val", "test"):
        for column in ("accuracy", "DP", "AOD"):
            table.add_column(f"{split}\n{column}", justify="right", no_wrap=True)
    table.add_column("published")
    for name, splits, note in rows:
        table.add_row(name, *_figures(config, finished, [splits]), note)
    table.add_section()
    for name, compared, chosen in short_rows(outcome.comparisons):
        table.add_row(name, *_figures(config, finished, [one.counts for one in compared]), "best" if chosen else "")
    report = report_of(config, classifier, outcome.bare["test"])
    parity, odds = (selection_gap(report, criterion)[0] for criterion in get_args(Criterion))
    table.caption = f"DP: {parity}, AOD: {odds}; 0: groups alike"
    return table


def _figures(config: RunConfig, finished: FinishedRun, several: Sequence[Mapping[str, ConfusionCounts]]) -> list[str]:
    """Table cells of accuracy and gaps on both splits, as the mean over several systems."""
    reports = [[report_of(config, finished.classifier, one[split]) for split in ("val", "test")] for one in several]
    rows = [[value for report in splits for value in _values(report)] for splits in reports]
    return [_mean(column) for column in zip(*rows, strict=True)]


def _values(report: FairnessReport) -> list[float | None]:
    return [report.overall.accuracy.value, *(selection_gap(report, one)[1].value for one in get_args(Criterion))]


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.3f}" if len(known) == len(values) else "-"
