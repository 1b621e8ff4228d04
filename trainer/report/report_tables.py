"""The tables of the reports: JSON values to headers and rows of text, for the page and the model card alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.formatting import (
    CURVES,
    SWEPT,
    Json,
    format_count,
    format_interval,
    format_number,
    group_rows,
    objective_gap,
    other_criterion,
    shown_candidate,
    system_name,
)
from trainer.report.paired_recalls import balanced_accuracy_change
from trainer.report.rivals import alternatives
from trainer.report.run_summary import cell_accuracies
from triggers.metrics import wilson
from triggers.metrics.intervals import critical

RATE_TITLES = {
    "selection_rate": "selection rate",
    "accuracy": "accuracy",
    "true_positive_rate": "true positive rate",
    "false_positive_rate": "false positive rate",
}


@dataclass(frozen=True)
class ReportTable:
    """A caption that says units and n, column headers, and rows of figures.

    The first `stubs` cells of a row are its headers, the last `texts` are words.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    stubs: int = 1
    marked: frozenset[int] = frozenset()  # rows set in bold
    texts: int = 0


def key_figures(summary: Json) -> ReportTable:
    """Accuracy, balanced accuracy and both gaps on test: without, with, change."""
    shown, criterion = shown_candidate(summary), summary["config"]["objective"]["criterion"]
    before, after, change = summary["bare"]["test"], shown["splits"]["test"], summary.get("change") or {}
    rows = [
        [name, format_interval(old), format_interval(new), format_interval(moved, change=True)]
        for name, old, new, moved in (
            ("accuracy", before["overall"]["accuracy"], after["overall"]["accuracy"], change.get("accuracy")),
            (
                "balanced accuracy",
                summary["bare_balanced_accuracy"]["test"],
                shown["balanced_accuracy"]["test"],
                balanced_accuracy_change(summary),
            ),
        )
    ]
    for one in (criterion, other_criterion(criterion)):
        (name, gap), new = objective_gap(before, one), objective_gap(after, one)[1]
        role = "trained" if one == criterion else "not trained"
        rows.append(
            [
                f"{name} ({role})",
                format_interval(gap),
                format_interval(new),
                format_interval(change.get(one), change=True),
            ]
        )
    caption = (
        f"Test split, n = {format_count(before['n'])}. Shares between 0 and 1, 95 % intervals in brackets. The "
        f"change is"
    )
    caption += (
        " that of the same rows with and without the trigger (paired bootstrap). Balanced accuracy is the mean of the"
        " labels' recalls; its interval puts theirs together (Wilson; of the change Newcombe, paired)."
    )
    return ReportTable(caption, ["", "without the trigger", "with the trigger", "change"], rows)


def rates_table(summary: Json) -> ReportTable:
    """Per group and rate: without, with, on how many rows."""
    before, after = summary["bare"]["test"], shown_candidate(summary)["splits"]["test"]
    rows = []
    for group, report in before["groups"].items():
        for key, name in RATE_TITLES.items():
            new = after["groups"].get(group, {}).get(key)
            rows.append(
                [group, name, format_count(report[key]["n"]), format_interval(report[key]), format_interval(new)]
            )
    caption = f"Test split. Rates of the label “{summary['labels'][summary['pos_label']]}”, Wilson 95 % intervals."
    return ReportTable(caption, ["group", "rate", "n", "without the trigger", "with the trigger"], rows, stubs=2)


def confusion(summary: Json) -> ReportTable:
    """Per group and true label: how many rows were predicted as what, and how many of them rightly."""
    labels, overlapping = summary["labels"], bool(summary["bare"]["test"].get("groups_overlap"))
    before, after = summary["bare_counts"]["test"], shown_candidate(summary)["counts"]["test"]
    rows: list[list[str]] = []
    worst, lowest = 0, 2.0
    for group in summary["bare"]["test"]["groups"]:
        bare, trigger = (group_rows(counts, group, overlapping) for counts in (before, after))
        for label, name in enumerate(labels):
            predicted = [[_count(cells, label, c) for c in range(len(labels))] for cells in (bare, trigger)]
            n = sum(predicted[0])
            if not n:
                continue
            right = [_share(row[label], n) for row in predicted]
            if right[1]["value"] < lowest:
                worst, lowest = len(rows), right[1]["value"]
            pairs = [f"{format_count(a)} → {format_count(b)}" for a, b in zip(*predicted, strict=True)]
            rows.append([group, name, format_count(n), *pairs, format_interval(right[0]), format_interval(right[1])])
    head = ["group", "true label", "n", *(f"predicted {name}" for name in labels), "right without", "right with"]
    caption = (
        "Test split, counts without → with the trigger, and the share of each row that is predicted rightly with its"
    )
    caption += " Wilson 95 % interval. Bold: the worst cell with the trigger."
    return ReportTable(caption, head, rows, stubs=2, marked=frozenset({worst} if rows else ()))


def worst_cell(summary: Json, counts: Any) -> str:
    """The (group, label) with the smallest share of right predictions, in words."""
    cells = {cell: pair for cell, pair in cell_accuracies(counts).items() if pair[1]}
    (group, label), (right, n) = min(cells.items(), key=lambda item: (item[1][0] / item[1][1], item[0]))
    return f"{group}, {summary['labels'][label]}: {format_interval(_share(right, n))} right, n = {format_count(n)}"


def flip_rates(summary: Json) -> ReportTable:
    """Prediction flips per group and direction."""
    positive = summary["labels"][summary["pos_label"]]
    several = len(summary["labels"]) > 2
    keys = ["to_positive", "from_positive", *(["between_others"] if several else []), "mended", "broken"]
    head = ["group", "n", f"to {positive}", f"away from {positive}", *(["between others"] if several else [])]
    head += ["became right", "became wrong"]
    groups = {**summary["flips"]["groups"], "everyone": summary["flips"]["everyone"]}
    rows = [
        [
            name,
            format_count(row["n"]),
            *(f"{format_count(row[key])}, {format_interval(_share(row[key], row['n']))}" for key in keys),
        ]
        for name, row in groups.items()
    ]
    caption = "Test split: predictions that the trigger changes, as counts and as shares of the group with Wilson 95 %"
    caption += " intervals."
    return ReportTable(caption, head, rows)


def paired_table(summary: Json) -> ReportTable:
    """The raw paired counts."""
    labels = summary["labels"]
    rows = [
        [group, labels[label], labels[before], labels[after], format_count(n)]
        for group, label, before, after, n in summary["paired"]
    ]
    head = ["group", "true label", "without the trigger", "with the trigger", "rows"]
    return ReportTable("Test split, every row once: the counts behind the changes and the flips.", head, rows, stubs=2)


def null_reading(summary: Json) -> ReportTable:
    """The probe's prediction for null inputs."""
    groups = list(summary["readout"]["shift"][0]["bare"])
    rows = [
        [
            one["input"],
            *(
                f"{format_number(one['bare'][group], 2)} → {format_number(one['trigger'][group], 2)}"
                for group in groups
            ),
        ]
        for one in summary["readout"]["null"]
    ]
    caption = "Group probabilities on an input that shows nobody, without → with the trigger; groups count as equally"
    caption += (
        f" frequent, so {format_number(summary['readout']['guessing'], 2)} says nothing. One input each, no interval."
    )
    return ReportTable(caption, ["input", *groups], rows)


def posterior_shift(summary: Json) -> ReportTable:
    """The trigger's shift of the mean prediction for real inputs."""
    shift = summary["readout"]["shift"]
    groups = list(shift[0]["bare"])
    rows = [
        [
            one["group"],
            format_count(one["n"]),
            *(
                f"{format_number(one['bare'][group], 2)} → {format_number(one['trigger'][group], 2)}"
                for group in groups
            ),
            f"{format_number(one['bare_entropy'], 2)} → {format_number(one['trigger_entropy'], 2)}",
        ]
        for one in shift
    ]
    head = ["true group", "n", *(f"read as {group}" for group in groups), "mean entropy (bits)"]
    return ReportTable("Mean group probabilities on test inputs, without → with the trigger.", head, rows)


def leak(summary: Json) -> ReportTable:
    """Balanced accuracies of fresh probes."""
    rows = [
        [one["from"], format_interval(one["bare"]), format_interval(one["trigger"])]
        for one in summary["readout"]["leak"]
    ]
    sizes = summary["readout"]["rows"]
    caption = (
        f"Share of each group recognised by a probe fitted anew on {format_count(sizes['val'])} validation "
        f"rows, mean over"
    )
    caption += (
        f" the groups, on {format_count(sizes['test'])} test rows; "
        f"{format_number(summary['readout']['guessing'], 2)} is guessing."
    )
    caption += (
        " 95 % intervals. What “scores and true label” adds to “true label alone” is what equalized odds is about."
    )
    if summary["config"]["select"].get("folds", 1) > 1:
        caption += " The validation rows also trained the trigger (cross-fitting), so that little may be found."
    return ReportTable(caption, ["probe reads", "without the trigger", "with the trigger"], rows)


def comparisons(summary: Json) -> ReportTable:
    """Every system side by side on test; baselines and controls where the run made them."""
    criterion = summary["config"]["objective"]["criterion"]
    bare = {"splits": summary["bare"], "balanced_accuracy": summary["bare_balanced_accuracy"], "step": None}
    rows, marked = [_system("no trigger", "", bare, criterion)], set()
    for one in summary["candidates"]:
        if one["strength"] == summary["best"]:
            marked.add(len(rows))
        setting = f"strength {one['strength']:g}, {one['selection']['status']}"
        rows.append(_system("trigger", setting, one, criterion))
    better = alternatives(summary)["better"]
    for at, one in _worth_listing(summary.get("comparisons", ())):
        if at == better:
            marked.add(len(rows))
        setting = one["setting"] + (" (picked)" if one["chosen"] and one["system"] in SWEPT else "")
        rows.append(_system(system_name(one["system"]), setting, one, criterion))
    gaps = [objective_gap(summary["bare"]["test"], each)[0] for each in (criterion, other_criterion(criterion))]
    caption = (
        f"Test split, n = {format_count(summary['bare']['test']['n'])}, 95 % intervals. Bold: picked on validation."
    )
    return ReportTable(
        caption,
        ["system", "setting", "step", "accuracy", "balanced accuracy", *gaps],
        rows,
        stubs=2,
        marked=frozenset(marked),
    )


def data_table(summary: Json) -> ReportTable:
    """Rows per split, group and label."""
    labels, cells = summary["labels"], summary["data_counts"]
    groups = list(dict.fromkeys(group for rows in cells.values() for group, _, _ in rows))
    rows = []
    for split, counted in cells.items():
        found = {(group, label): n for group, label, n in counted}
        for group in groups:
            per_label = [found.get((group, label), 0) for label in range(len(labels))]
            rows.append([split, group, *map(format_count, per_label), format_count(sum(per_label))])
    caption = (
        "Rows per split, group and true label. No content is in two splits, nor in the rows that fitted the model."
    )
    return ReportTable(caption, ["split", "group", *labels, "all"], rows, stubs=2)


def _system(name: str, setting: str, one: Json, criterion: str) -> list[str]:
    step, report = one["step"], one["splits"]["test"]
    gaps = [format_interval(objective_gap(report, each)[1]) for each in (criterion, other_criterion(criterion))]
    return [
        name,
        setting,
        "" if step is None else format_count(step),
        format_interval(report["overall"]["accuracy"]),
        format_interval(one["balanced_accuracy"]["test"]),
        *gaps,
    ]


def _worth_listing(ones: Sequence[Json]) -> list[tuple[int, Json]]:
    """All settings of a system; of a curve only the chosen ones. With their indices."""
    return [(at, one) for at, one in enumerate(ones) if one["chosen"] or one["system"] not in CURVES]


def _count(rows: Sequence[Sequence[Any]], label: int, prediction: int) -> int:
    return sum(row[3] for row in rows if (row[1], row[2]) == (label, prediction))


def _share(hits: int, n: int) -> dict[str, Any]:
    """A share as an estimate with its Wilson interval."""
    if not n:
        return {"value": None, "low": None, "high": None}
    low, high = wilson(hits, n, critical(0.95))
    return {"value": hits / n, "low": float(low), "high": float(high)}
