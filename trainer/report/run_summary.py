"""The result of a run in sentences that the page and the model card share: headline, verdict, cautions."""

from __future__ import annotations

from typing import Any

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
from triggers.artifact.scoring_words import decision_words, head_words
from triggers.model.bundle import ComparisonRecord

FEW = 30
"""Rows of a group and label below which a rate says little."""


def verdict(summary: Json) -> dict[str, str]:
    """{"status", "reason"}: "recommended", "recommended, not confirmed" or "not recommended"."""
    if summary["best"] is None:
        return {"status": "not recommended", "reason": " ".join(summary["notes"][:1])}
    drop = summary["config"]["select"]["max_accuracy_drop"]
    chosen = (
        f"Validation chose strength {summary['best']:g}: the smallest gap among those within "
        f"{format_number(drop)} of the"
    )
    chosen += " accuracy without a trigger."
    change = summary.get("change") or {}
    gap = change.get(summary["config"]["objective"]["criterion"])
    if not gap:
        return {"status": "recommended", "reason": f"{chosen} The test split was not looked at in pairs."}
    name = objective_gap(summary["bare"]["test"], summary["config"]["objective"]["criterion"])[0]
    if gap["high"] >= 0:
        why = (
            f"On test the {name} changed by {format_interval(gap, change=True)}, an interval that does not leave out 0."
        )
        return {"status": "recommended, not confirmed", "reason": f"{chosen} {why}"}
    if change["accuracy"]["high"] < -drop:
        why = f"On test accuracy changed by {format_interval(change['accuracy'], change=True)}, more than was allowed."
        return {"status": "recommended, not confirmed", "reason": f"{chosen} {why}"}
    why = f"On test the {name} changed by {format_interval(gap, change=True)}, an interval that leaves out 0."
    return {"status": "recommended", "reason": f"{chosen} {why}"}


def headline_sentence(summary: Json) -> str:
    """One plain sentence with the numbers of the test split and their intervals."""
    criterion = summary["config"]["objective"]["criterion"]
    before, after = summary["bare"]["test"], shown_candidate(summary)["splits"]["test"]
    (name, gap), new = objective_gap(before, criterion), objective_gap(after, criterion)[1]
    if summary["best"] is None:
        start = f"Validation recommends none of {len(summary['candidates'])} triggers; with the one looked at here,"
        start += f" strength {summary['shown']:g},"
    else:
        start = f"Validation chose strength {summary['best']:g};"
    rows = f"on {format_count(before['n'])} test {inputs_word(summary)}"
    old, accuracy = before["overall"]["accuracy"], after["overall"]["accuracy"]
    return (
        f"{start} {rows} the {name} {_moved(gap, new)} from {format_interval(gap)} to {format_interval(new)} while "
        f"accuracy"
        f" {_moved(old, accuracy)} from {format_interval(old)} to {format_interval(accuracy)}."
    )


def scoring_sentence(summary: Json) -> str:
    """How the model comes to a label."""
    decision = decision_words(summary["labels"], summary["pos_label"], summary["threshold"])
    return f"The model's answer is {decision}; scores are {head_words(summary['head'])}."


def origin_sentence(summary: Json) -> str:
    """How the frozen model's bundle compares with the source that it was made from; empty if it was not compared."""
    record = summary.get("comparison")
    return f"Bundle: {ComparisonRecord(**record).sentence}." if record else ""


def cautions(summary: Json) -> list[str]:
    """Cautions about these figures for a reviewer; empty if there are none."""
    accepted = (summary.get("comparison") or {}).get("accepted")
    return [*([origin_sentence(summary)] if accepted else []), *_worse(summary), *_controls(summary), *_small(summary)]


def cell_accuracies(counts: list[Any]) -> dict[tuple[str, int], tuple[int, int]]:
    """Rows [group, label, prediction, n] to (right, n) per (group, label)."""
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for group, label, prediction, n in counts:
        right, total = found.get((group, label), (0, 0))
        found[group, label] = (right + n * (label == prediction), total + n)
    return found


def _moved(before: Json, after: Json) -> str:
    if (
        before["value"] is None
        or after["value"] is None
        or format_number(before["value"]) == format_number(after["value"])
    ):
        return "went"
    return "fell" if after["value"] < before["value"] else "rose"


def _worse(summary: Json) -> list[str]:
    """Groups whose accuracy, and a criterion whose gap, clearly went the wrong way on test."""
    change = summary.get("change")
    if not change:
        return []
    found = [
        f"Accuracy for group {group} fell: {format_interval(figure, change=True)} on test."
        for group, figure in change["group_accuracy"].items()
        if figure and figure["high"] < 0
    ]
    untrained = other_criterion(summary["config"]["objective"]["criterion"])
    figure = change[untrained]
    if figure and figure["low"] > 0:
        name = objective_gap(summary["bare"]["test"], untrained)[0]
        found.append(f"The {name}, which was not trained for, rose: {format_interval(figure, change=True)} on test.")
    return found


def _controls(summary: Json) -> list[str]:
    """Controls and baselines, as validation picked them, that do as well as the trigger on test."""
    criterion = summary["config"]["objective"]["criterion"]
    report = shown_candidate(summary)["splits"]["test"]
    gap, accuracy = objective_gap(report, criterion)[1]["value"], report["overall"]["accuracy"]["value"]
    if gap is None or accuracy is None or summary["best"] is None:
        return []
    found = []
    for one in summary.get("comparisons", ()):
        theirs = one["splits"]["test"]
        value, right = objective_gap(theirs, criterion)[1]["value"], theirs["overall"]["accuracy"]["value"]
        if one["chosen"] and None not in (value, right) and value <= gap and right >= accuracy:
            name = f"{system_name(one['system'])} ({one['setting']})"
            figures = f"gap {format_number(value)} at accuracy {format_number(right)}"
            found.append(f"{name} does at least as well on test: {figures}.")
    return found


def _small(summary: Json) -> list[str]:
    cells = cell_accuracies(summary["bare_counts"]["test"])
    few = [
        f"{group}, {summary['labels'][label]} (n = {n})" for (group, label), (_, n) in sorted(cells.items()) if n < FEW
    ]
    if not few:
        return []
    return [f"Fewer than {FEW} test rows stand behind some rates: {join_words(few)}."]
