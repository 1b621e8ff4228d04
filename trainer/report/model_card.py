"""The model card of one trigger (Mitchell et al., FAT* 2019) as Markdown, from the run's own summary.

It is the recommended trigger, or where none is the one that the report shows; the card says which of the two at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.formatting import Json, inputs_word, join_words, objective_gap, shown_candidate
from trainer.report.report_tables import ReportTable, data_table, key_figures, rates_table, worst_cell
from trainer.report.run_cautions import cautions
from trainer.report.run_summary import headline_sentence, origin_sentence, scoring_sentence, verdict
from trainer.report.selection_tables import selection_rules

LIMITATIONS = (
    "It is tuned for one stated criterion, for the groups that were named, on data like the tuning set. Criteria"
    " contradict each other, and a group that was not named may fare worse.",
    "Gaps measured on a few hundred rows per group are uncertain, as the intervals say; one run is one seed.",
    "It belongs to one frozen model and its preprocessing, by fingerprint, and drifting inputs may undo it.",
    "It changes averages over groups. Some single decisions turn for the worse; it promises no calibration.",
)
"""Limitations of every trigger; docs/what-a-trigger-does.md says more."""

ETHICS = (
    "A trigger may work by giving the model the same, possibly false, hint about the group of everybody. Whether that"
    " is allowed and right is a legal and an ethical question (disparate treatment, special-category data) that no"
    " software answers: have it assessed, and record the assessment with the version.",
    "Groups are needed to train and to measure, never to predict.",
)


def model_card(summary: Json) -> str:
    """The card of the trigger that is shown in detail."""
    one, config = shown_candidate(summary), summary["config"]
    decision = verdict(summary)
    parts = [
        f"# Model card: fairness trigger for `{summary['model']}`, strength {one['strength']:g} ({decision['status']})",
        decision["reason"],
        headline_sentence(summary),
        "## Model details",
        _bullets(_details(summary)),
        "## Intended use",
        _bullets(
            [
                f"Put on every input of the frozen classifier `{summary['model']}`, which predicts {_labels(summary)};"
                " the service does that and refuses any other model or preprocessing.",
                "Not intended for another model, another population, or decisions that nobody watches.",
            ]
        ),
        "## Factors",
        _bullets(
            [
                f"Groups: {join_words(summary['bare']['test']['groups'])}, from {_group_source(config)}.",
                "Other groups were not looked at.",
            ]
        ),
        "## Metrics",
        _bullets(_metrics(summary)),
        "## Evaluation data",
        _evaluation(summary),
        _markdown(data_table(summary)),
        "## Training data",
        f"The tuning split above: `{config['data']['path']}`, label {_columns(config['data']['label'])}."
        " The classifier's own training rows are in no split of this run.",
        "## Quantitative analyses",
        _markdown(key_figures(summary)),
        _markdown(rates_table(summary)),
        f"Worst group and label without the trigger: {worst_cell(summary, summary['bare_counts']['test'])}."
        f" With it: {worst_cell(summary, one['counts']['test'])}.",
        "## Ethical considerations",
        _bullets(ETHICS),
        "## Caveats and recommendations",
        _bullets([*cautions(summary), *summary["notes"], *LIMITATIONS]),
    ]
    return "\n\n".join(parts) + "\n"


def _details(summary: Json) -> list[str]:
    one, objective, made = shown_candidate(summary), summary["config"]["objective"], summary["provenance"]
    place = one["published"]
    where = f"version v{place['version']}" if place else "not published"
    words = [f"Words: {' '.join(one['words'])}"] if one["words"] else []
    return [
        f"A constant change of the input ({summary['config']['trigger']['kind']}) learned for a frozen classifier;"
        f" {where}, digest `{one['digest']}`.",
        *words,
        f"Objective: {objective['name']}, criterion {objective['criterion'].replace('_', ' ')}, strength"
        f" {one['strength']:g}, taken after step {one['step']} of {summary['steps']}.",
        "Method: Fairness Reprogramming (Zhang et al., NeurIPS 2022, arXiv 2209.10222).",
        f"Frozen model: `{summary['model_fingerprint']}`. {origin_sentence(summary)}".strip(),
        f"Made {made['created_at']} by {made['created_by']} with fairtrigger {made['code_version']} on"
        f" {summary['device']}.",
    ]


def _evaluation(summary: Json) -> str:
    folds = summary["config"]["select"].get("folds", 1)
    crossed = f" Tuning and validation rows were joined and cross-fitted in {folds} folds." if folds > 1 else ""
    return f"Validation picked the trigger; the test split was counted once, after that.{crossed}"


def _metrics(summary: Json) -> list[str]:
    criterion = summary["config"]["objective"]["criterion"]
    report = summary["bare"]["test"]
    name, gap = objective_gap(report, criterion)
    return [
        f"Trained and selected by the {name} ({gap['aggregation']}).",
        f"“Selected” is a prediction of {summary['labels'][summary['pos_label']]}. {scoring_sentence(summary)}",
        selection_rules(summary)[0],
        "Rates have Wilson intervals, gaps simultaneous pairwise Newcombe intervals, changes a paired bootstrap, all at"
        f" {report['confidence']:.0%}.",
    ]


def _labels(summary: Json) -> str:
    return f"{join_words(summary['labels'])} from {inputs_word(summary)}"


def _group_source(config: Json) -> str:
    data = config["data"]
    words = "a word list" if data.get("group_words") or data.get("group_words_file") else "the data's own layout"
    return _columns(data["group"]) if data.get("group") else words


def _columns(names: str | Sequence[str]) -> str:
    """One column or attribute, or several."""
    return f"`{names if isinstance(names, str) else ' & '.join(names)}`"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _markdown(table: ReportTable) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in (table.head, *table.rows)]
    figures = len(table.head) - table.stubs - table.texts
    rule = "|" + " --- |" * table.stubs + " ---: |" * figures + " --- |" * table.texts
    return "\n".join([lines[0], rule, *lines[1:], "", table.caption])
