"""The terminal summary of a finished run: what it recommends, the table of all strengths, the paths of its files.

The sentences are those of the report, from the run's metrics.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trainer.config import Criterion, RunConfig
from trainer.evaluation.balanced_accuracy import estimate_balanced_accuracy
from trainer.evaluation.comparison_record import short_rows
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.recommendation import RULES
from trainer.evaluation.selection import selection_gap
from trainer.formatting import format_number
from trainer.publish import store_url
from trainer.report import STATUS_WORDS, cautions, headline_sentence, report_of, verdict
from trainer.train import FinishedRun
from triggers.storage import without_password


def print_summary(config: RunConfig, folder: Path, finished: FinishedRun) -> None:
    """Print the verdict, the table of all strengths, cautions and notes, and the paths of the files."""
    console = Console()
    summary = json.loads((folder / "metrics.json").read_bytes())
    found = verdict(summary)
    console.print(found["reason"], markup=False, highlight=False, soft_wrap=True)
    console.print(_table(config, finished))
    notes = [note for note in finished.result.notes if note not in found["reason"]]
    for line in (headline_sentence(summary), *(f"Mind: {one}" for one in cautions(summary)), *notes):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
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
    for at, one in enumerate(outcome.candidates):
        said = [one.selection.status, "best" * (at == outcome.best), versions.get(one.strength, "")]
        rows.append((f"{one.strength:g}", one.counts, ", ".join(filter(None, said))))
    title = f"{classifier.name}: {config.trigger.kind} trigger, {config.objective.criterion.replace('_', ' ')}"
    table = Table("strength", title=title, box=SIMPLE_HEAD, padding=0)
    for split in ("val", "test"):
        for column in ("acc", "bal", "DP", "AOD"):
            table.add_column(f"{split}\n{column}", justify="right", no_wrap=True)
    table.add_column("validation says,\npublished as", min_width=16)
    for name, splits, note in rows:
        table.add_row(name, *_figures(config, finished, [splits]), note)
    table.add_section()
    better = outcome.alternatives.better
    for name, compared, chosen in short_rows(outcome.comparisons):
        said = [one.selection.status for one in compared if one.selection and one.system in RULES]
        said += ["recommended"] * (better is not None and outcome.comparisons[better] in compared)
        note = ", ".join([*said, *(["best"] * chosen)])
        table.add_row(name, *_figures(config, finished, [one.counts for one in compared]), note)
    report = report_of(config, classifier, outcome.bare["test"])
    parity, odds = (selection_gap(report, criterion)[0] for criterion in get_args(Criterion))
    legend = f"acc: accuracy, bal: balanced accuracy, DP: {parity}, AOD: {odds}; 0: groups alike"
    table.caption = "\n".join([legend, *(f"{word}: {meaning}" for word, meaning in STATUS_WORDS.items())])
    table.caption_justify = "left"
    return table


def _figures(config: RunConfig, finished: FinishedRun, several: Sequence[Mapping[str, ConfusionCounts]]) -> list[str]:
    """Table cells of both accuracies and gaps on both splits, as the mean over several systems."""
    rows = [[value for split in ("val", "test") for value in _values(config, finished, one[split])] for one in several]
    return [_mean(column) for column in zip(*rows, strict=True)]


def _values(config: RunConfig, finished: FinishedRun, counts: ConfusionCounts) -> list[float | None]:
    report = report_of(config, finished.classifier, counts)
    accuracies = [report.overall.accuracy.value, estimate_balanced_accuracy(counts).value]
    return [*accuracies, *(selection_gap(report, one)[1].value for one in get_args(Criterion))]


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return format_number(sum(known) / len(known)) if len(known) == len(values) else "-"
