"""Cautions about a run's figures, each with its numbers. The test split adds them; it never changes the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.power import POWER, visible_gaps
from trainer.evaluation.recommendation import MEASURES
from trainer.evaluation.selection import FEW_HITS, comparable, recalls
from trainer.formatting import (
    Json,
    format_count,
    format_interval,
    format_number,
    inputs_word,
    join_words,
    objective_gap,
    other_criterion,
    shown_candidate,
    system_name,
)
from trainer.report.paired_recalls import balanced_accuracy_change, group_recall_changes
from trainer.report.run_summary import cell_accuracies, origin_sentence
from triggers.metrics.rates import CountTable

FEW = 30
"""Rows of a group and label below which a rate says little."""
HARDLY_BETTER = 0.25
"""Share of the constant answer's errors that a model must avoid to be worth more than it."""
ONE_ANSWER = 0.99
"""Share of one answer from which on a model gives hardly any other."""
MOST_NAMED = 5
"""Groups and labels that one caution names."""


def cautions(summary: Json) -> list[str]:
    """Cautions for a reviewer, those about the bundle and the budget first; empty if there are none."""
    accepted = (summary.get("comparison") or {}).get("accepted")
    return [
        *([origin_sentence(summary)] if accepted else []),
        *_budget(summary),
        *_payers(summary),
        *_worse(summary),
        *_collapse(summary),
        *_base_model(summary),
        *_faint_gap(summary),
        *_comparisons(summary),
        *_crossfit(summary),
        *_small(summary),
    ]


def _budget(summary: Json) -> Iterator[str]:
    """The limits of selection that are broken on test."""
    select = shown_candidate(summary)["selection"]
    loss, measure = _test_loss(summary, select["measure"]), MEASURES[select["measure"]]
    if loss and loss["value"] > select["budget"] + 1e-9:
        yield (
            f"On test the budget is broken: it loses {format_interval(loss)} of {measure}, {select['budget']:g} was"
            " allowed."
        )
    floor, (before, after) = select["min_recall_ratio"], _test_recalls(summary)
    fallen = [
        f"{_cell(summary, label, group)} ({_share(before[label, group])} → {_share(after[label, group])})"
        for label, group in before
        if comparable((label, group), before[label, group][0])
        and after[label, group][0] < (floor or 0) * before[label, group][0] - 1e-9
    ]
    if fallen:
        yield f"On test the recall of {_named(fallen)} falls below {floor:g} of the bare model's."


def _test_loss(summary: Json, measure: str) -> dict[str, float] | None:
    """The loss on test in the selection's measure, with its paired interval where rows were predicted in pairs."""
    changed: Json | None = None
    match measure:
        case "accuracy":
            changed = (summary.get("change") or {}).get("accuracy") or _unpaired(
                summary["bare"]["test"]["overall"]["accuracy"],
                shown_candidate(summary)["splits"]["test"]["overall"]["accuracy"],
            )
        case "balanced_accuracy":
            changed = balanced_accuracy_change(summary) or _unpaired(
                summary["bare_balanced_accuracy"]["test"], shown_candidate(summary)["balanced_accuracy"]["test"]
            )
        case "recall" if summary.get("paired"):
            ones = [one for one in group_recall_changes(summary) if _in_budget(summary, one.label, one.group)]
            every = [one.figure for one in ones]
            changed = {name: min(figure[name] for figure in every) for name in ("value", "low", "high")}
        case _:
            before, after = _test_recalls(summary)
            cells = [cell for cell in before if cell[1] is not None and _in_budget(summary, *cell)]
            value = min((after[cell][0] - before[cell][0]) / before[cell][1] for cell in cells)
            changed = {"value": value, "low": None, "high": None}
    if changed is None:
        return None
    limits = {"low": changed["high"], "high": changed["low"]}
    return {name: -value for name, value in ({"value": changed["value"]} | limits).items() if value is not None}


def _in_budget(summary: Json, label: int, group: str | None) -> bool:
    """Whether the measure "recall" looks at a label in a group: at those that [select] names, else at all."""
    labels, groups = (summary["config"]["select"][f"recall_{names}"] for names in ("labels", "groups"))
    return (not labels or summary["labels"][label] in labels) and (not groups or group in groups)


def _unpaired(before: Json, after: Json) -> Json | None:
    if before["value"] is None or after["value"] is None:
        return None
    return {"value": after["value"] - before["value"], "low": None, "high": None}


def _payers(summary: Json) -> Iterator[str]:
    """Labels and groups whose recall clearly fell on test."""
    if not summary.get("paired"):
        yield "Test rows were not predicted in pairs ([report] enabled = false), so nobody who pays is named here."
        return
    paid = sorted((one for one in group_recall_changes(summary) if one.high < 0), key=lambda one: one.high)
    for one in paid[:MOST_NAMED]:
        moved = f"{format_number(one.before)} → {format_number(one.after)}"
        change = format_interval(one.figure, change=True)
        cell = _cell(summary, one.label, one.group)
        yield f"Who pays on test: the recall of {cell}: {moved} ({change}, n = {format_count(one.n)})."
    if len(paid) > MOST_NAMED:
        yield f"Who pays on test: {len(paid) - MOST_NAMED} more labels and groups; the table of groups has them."


def _worse(summary: Json) -> Iterator[str]:
    """Gaps and groups' accuracies that clearly went the wrong way on test, and a gap that did not clearly shrink."""
    change = summary.get("change")
    if not change:
        return
    criterion = summary["config"]["objective"]["criterion"]
    trained, untrained = change[criterion], change[other_criterion(criterion)]
    name, other = (objective_gap(summary["bare"]["test"], one)[0] for one in (criterion, other_criterion(criterion)))
    if trained and trained["high"] >= 0:
        moved = format_interval(trained, change=True)
        yield f"On test the {name} changed by {moved}, an interval that does not leave out 0."
    for group, figure in change["group_accuracy"].items():
        if figure and figure["high"] < 0:
            yield f"Accuracy for group {group} fell: {format_interval(figure, change=True)} on test."
    if untrained and untrained["low"] > 0:
        moved = format_interval(untrained, change=True)
        yield f"The {other}, which was not trained for, rose: {moved} on test."


def _collapse(summary: Json) -> Iterator[str]:
    """Answers that turn into one and the same."""
    bare, triggered = (_answers(each["test"]) for each in (summary["bare_counts"], shown_candidate(summary)["counts"]))
    n = bare.total()
    answer, most = max(triggered.items(), key=lambda item: item[1])
    rest = n - bare[answer]
    if rest >= FEW_HITS and n - most < rest / 2:
        shares = f"{format_number(bare[answer] / n)} → {format_number(most / n)}"
        label = summary["labels"][answer]
        yield f"Answers collapse: the share of test {inputs_word(summary)} that get {label} went {shares}."


def _base_model(summary: Json) -> Iterator[str]:
    """A bare model with one answer, or with little more than the constant one."""
    counts, labels = summary["bare_counts"]["test"], summary["labels"]
    answers, truth = _answers(counts), Counter[int]()
    for _, label, _, n in counts:
        truth[label] += n
    total = answers.total()
    answer, most = max(answers.items(), key=lambda item: item[1])
    if most >= ONE_ANSWER * total:
        share = format_number(most / total)
        yield f"The bare model itself answers {labels[answer]} to {share} of the test {inputs_word(summary)}."
    constant, right = max(truth.items(), key=lambda item: item[1])
    wrong = sum(n for _, label, prediction, n in counts if label != prediction)
    if wrong > (1 - HARDLY_BETTER) * (total - right):
        accuracy = format_interval(summary["bare"]["test"]["overall"]["accuracy"])
        yield (
            f"The bare model's accuracy on test, {accuracy}, is hardly above that of always answering"
            f" {labels[constant]}, {format_number(right / total)}: go by balanced accuracy,"
            f" {format_interval(summary['bare_balanced_accuracy']['test'])}."
        )


def _faint_gap(summary: Json) -> Iterator[str]:
    """A bare gap that may be noise, and the smallest one that so many rows show."""
    criterion, labels = summary["config"]["objective"]["criterion"], len(summary["labels"])
    for split, where in (("val", "validation"), ("test", "test")):
        report = summary["bare"][split]
        name, gap = objective_gap(report, criterion)
        noise = gap.get("expected_at_parity")
        if gap["value"] is None or (gap["low"] > 0 and (noise is None or gap["value"] > noise)):
            continue
        counts, overlapping = _counts(summary["bare_counts"][split]), bool(report.get("groups_overlap"))
        table = CountTable.of(counts, labels, overlapping=overlapping)
        visible = [one.value for one in visible_gaps(table, table, criterion, summary["pos_label"], labels)]
        smallest = min((value for value in visible if value is not None), default=None)
        expected = "" if noise is None else f"; noise alone would show about {format_number(noise)}"
        shown = "no gap at all" if smallest is None else f"a gap of {format_number(smallest)} or more"
        rows = f"{format_count(report['n'])} rows like these"
        yield (
            f"The bare model's {name} on {where}, {format_interval(gap)}, may be none{expected}. {rows} show {shown}"
            f" ({100 * POWER:.0f} % power)."
        )


def _comparisons(summary: Json) -> Iterator[str]:
    """Controls that were not made, and comparisons, as validation picked them, that do as well on test."""
    if not summary["config"]["controls"]["enabled"]:
        yield "Controls were switched off ([controls] enabled = false): nothing cheaper than a trigger was ruled out."
    criterion = summary["config"]["objective"]["criterion"]
    report = shown_candidate(summary)["splits"]["test"]
    gap, accuracy = objective_gap(report, criterion)[1]["value"], report["overall"]["accuracy"]["value"]
    if gap is None or accuracy is None or summary["best"] is None:
        return
    for one in summary.get("comparisons", ()):
        theirs = one["splits"]["test"]
        value, right = objective_gap(theirs, criterion)[1]["value"], theirs["overall"]["accuracy"]["value"]
        if one["chosen"] and None not in (value, right) and value <= gap and right >= accuracy:
            name = f"{system_name(one['system'])} ({one['setting']})"
            figures = f"gap {format_number(value)} at accuracy {format_number(right)}"
            yield f"{name} does at least as well on test: {figures}."


def _crossfit(summary: Json) -> Iterator[str]:
    folds = summary["config"]["select"].get("folds", 1)
    if folds > 1:
        hard = summary["config"]["trigger"]["kind"] == "hard"
        yield (
            f"Cross-fitted in {folds} folds: validation judged each fold's own trigger on rows that it was not trained"
            f" on. The trigger of this run is {'one of' if hard else 'the mean of'} them; only test counted it itself."
        )


def _small(summary: Json) -> Iterator[str]:
    cells = cell_accuracies(summary["bare_counts"]["test"])
    few = [
        f"{group}, {summary['labels'][label]} (n = {n})" for (group, label), (_, n) in sorted(cells.items()) if n < FEW
    ]
    if few:
        yield f"Fewer than {FEW} test rows stand behind some rates: {join_words(few)}."


def _test_recalls(summary: Json) -> tuple[Any, Any]:
    """(hits, rows) per label and group on test, without and with the trigger."""
    overlapping = bool(summary["bare"]["test"].get("groups_overlap"))
    both = (summary["bare_counts"], shown_candidate(summary)["counts"])
    before, after = (recalls(_counts(each["test"]), overlapping=overlapping) for each in both)
    return before, after


def _counts(rows: Sequence[Sequence[Any]]) -> ConfusionCounts:
    return {(group, label, prediction): n for group, label, prediction, n in rows}


def _answers(rows: Sequence[Sequence[Any]]) -> Counter[int]:
    """How often each label is the answer."""
    found: Counter[int] = Counter()
    for _, _, prediction, n in rows:
        found[prediction] += n
    return found


def _cell(summary: Json, label: int, group: str | None) -> str:
    return f"{summary['labels'][label]}" + (f" in group {group}" if group is not None else "")


def _share(pair: tuple[int, int]) -> str:
    return format_number(pair[0] / pair[1])


def _named(cells: Sequence[str]) -> str:
    more = [f"{len(cells) - MOST_NAMED} more"] if len(cells) > MOST_NAMED else []
    return join_words([*cells[:MOST_NAMED], *more])
