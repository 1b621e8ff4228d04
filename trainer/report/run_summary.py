"""What came of a run, in sentences that the page and the model card share: headline, verdict, cautions."""

from __future__ import annotations

from typing import Any

from trainer.formatting import (
    Json,
    inputs_word,
    interval,
    judged_gap,
    listed,
    number,
    other,
    shown_candidate,
    system_name,
    whole,
)

FEW = 30
"""Rows of a group and label below which a rate says little."""


def verdict(summary: Json) -> dict[str, str]:
    """{"status", "reason"}: "recommended", "recommended, not confirmed" or "not recommended"."""
    if summary["best"] is None:
        return {"status": "not recommended", "reason": " ".join(summary["notes"][:1])}
    drop = summary["config"]["select"]["max_accuracy_drop"]
    chosen = f"Validation chose strength {summary['best']:g}: the smallest gap among those within {number(drop)} of the"
    chosen += " accuracy without a trigger."
    change = summary.get("change") or {}
    gap = change.get(summary["config"]["objective"]["criterion"])
    if not gap:
        return {"status": "recommended", "reason": f"{chosen} The test split was not looked at in pairs."}
    name = judged_gap(summary["bare"]["test"], summary["config"]["objective"]["criterion"])[0]
    if gap["high"] >= 0:
        why = f"On test the {name} changed by {interval(gap, change=True)}, an interval that does not leave out 0."
        return {"status": "recommended, not confirmed", "reason": f"{chosen} {why}"}
    if change["accuracy"]["high"] < -drop:
        why = f"On test accuracy changed by {interval(change['accuracy'], change=True)}, more than was allowed."
        return {"status": "recommended, not confirmed", "reason": f"{chosen} {why}"}
    why = f"On test the {name} changed by {interval(gap, change=True)}, an interval that leaves out 0."
    return {"status": "recommended", "reason": f"{chosen} {why}"}


def headline(summary: Json) -> str:
    """One plain sentence with the numbers of the test split and their intervals."""
    criterion = summary["config"]["objective"]["criterion"]
    before, after = summary["bare"]["test"], shown_candidate(summary)["splits"]["test"]
    (name, gap), new = judged_gap(before, criterion), judged_gap(after, criterion)[1]
    if summary["best"] is None:
        start = f"Validation recommends none of {len(summary['candidates'])} triggers; with the one looked at here,"
        start += f" strength {summary['shown']:g},"
    else:
        start = f"Validation chose strength {summary['best']:g};"
    rows = f"on {whole(before['n'])} test {inputs_word(summary)}"
    old, accuracy = before["overall"]["accuracy"], after["overall"]["accuracy"]
    return (
        f"{start} {rows} the {name} {_moved(gap, new)} from {interval(gap)} to {interval(new)} while accuracy"
        f" {_moved(old, accuracy)} from {interval(old)} to {interval(accuracy)}."
    )


def cautions(summary: Json) -> list[str]:
    """What a reviewer should not overlook in these figures; empty if there is nothing."""
    return [*_worse(summary), *_controls(summary), *_small(summary)]


def cell_accuracies(counts: list[Any]) -> dict[tuple[str, int], tuple[int, int]]:
    """Rows [group, label, prediction, n] to (right, n) per (group, label)."""
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for group, label, prediction, n in counts:
        right, total = found.get((group, label), (0, 0))
        found[group, label] = (right + n * (label == prediction), total + n)
    return found


def _moved(before: Json, after: Json) -> str:
    if before["value"] is None or after["value"] is None or number(before["value"]) == number(after["value"]):
        return "went"
    return "fell" if after["value"] < before["value"] else "rose"


def _worse(summary: Json) -> list[str]:
    """Groups whose accuracy, and a criterion whose gap, clearly went the wrong way on test."""
    change = summary.get("change")
    if not change:
        return []
    found = [
        f"Accuracy for group {group} fell: {interval(figure, change=True)} on test."
        for group, figure in change["group_accuracy"].items()
        if figure and figure["high"] < 0
    ]
    untrained = other(summary["config"]["objective"]["criterion"])
    figure = change[untrained]
    if figure and figure["low"] > 0:
        name = judged_gap(summary["bare"]["test"], untrained)[0]
        found.append(f"The {name}, which was not trained for, rose: {interval(figure, change=True)} on test.")
    return found


def _controls(summary: Json) -> list[str]:
    """Controls and baselines, as validation picked them, that do as well as the trigger on test."""
    criterion = summary["config"]["objective"]["criterion"]
    report = shown_candidate(summary)["splits"]["test"]
    gap, accuracy = judged_gap(report, criterion)[1]["value"], report["overall"]["accuracy"]["value"]
    if gap is None or accuracy is None or summary["best"] is None:
        return []
    found = []
    for one in summary.get("comparisons", ()):
        theirs = one["splits"]["test"]
        value, right = judged_gap(theirs, criterion)[1]["value"], theirs["overall"]["accuracy"]["value"]
        if one["chosen"] and None not in (value, right) and value <= gap and right >= accuracy:
            name = f"{system_name(one['system'])} ({one['setting']})"
            figures = f"gap {number(value)} at accuracy {number(right)}"
            found.append(f"{name} does at least as well on test: {figures}.")
    return found


def _small(summary: Json) -> list[str]:
    cells = cell_accuracies(summary["bare_counts"]["test"])
    few = [
        f"{group}, {summary['labels'][label]} (n = {n})" for (group, label), (_, n) in sorted(cells.items()) if n < FEW
    ]
    if not few:
        return []
    return [f"Fewer than {FEW} test rows stand behind some rates: {listed(few)}."]
