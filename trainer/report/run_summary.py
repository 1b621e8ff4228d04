"""The result of a run in sentences that terminal, page and model card share: verdict, and numbers of the test split."""

from __future__ import annotations

from typing import Any

from trainer.formatting import (
    Json,
    format_count,
    format_interval,
    format_number,
    inputs_word,
    objective_gap,
    shown_candidate,
)
from trainer.report.rivals import beside_sentences, better_rule, rival_sentences
from triggers.artifact.scoring_words import decision_words, head_words
from triggers.artifact.selection_record import SelectionRecord
from triggers.model.bundle import ComparisonRecord

STATUS_WORDS = {
    "certified": "a test on validation passed: the loss is within the budget",
    "promising": "within the budget and above every floor as counted there, not proved",
    "not recommended": "neither, or no fairer than something cheaper",
}
"""What the three words for a trigger mean."""


def verdict(summary: Json) -> dict[str, str]:
    """{"status", "reason"}: certified, promising or not recommended, from validation alone, and why in sentences.

    Where something cheaper does as well, or a rule on the model's outputs better, the first sentence says so and
    recommends it; the word stays that of the trigger.
    """
    status, reason = _of_triggers(summary)
    parts = [better_rule(summary), reason, beside_sentences(summary)]
    return {"status": status, "reason": " ".join(filter(None, parts))}


def _of_triggers(summary: Json) -> tuple[str, str]:
    if advice := rival_sentences(summary):
        return "not recommended", advice
    if summary["best"] is None:
        return "not recommended", " ".join(summary["notes"][:1])
    record = SelectionRecord(**shown_candidate(summary)["selection"])
    which = "Of the triggers, strength" if better_rule(summary) else "Strength"
    return record.status, f"{which} {summary['best']:g} is {record.sentence}."


def headline_sentence(summary: Json) -> str:
    """One plain sentence with the numbers of the test split and their intervals."""
    criterion, shown = summary["config"]["objective"]["criterion"], shown_candidate(summary)
    before, after = summary["bare"]["test"], shown["splits"]["test"]
    (name, gap), new = objective_gap(before, criterion), objective_gap(after, criterion)[1]
    if summary["best"] is None:
        start = f"Validation recommends none of {len(summary['candidates'])} triggers; with the one looked at here,"
        start += f" strength {summary['shown']:g},"
    else:
        start = f"Validation chose strength {summary['best']:g};"
    rows = f"on {format_count(before['n'])} test {inputs_word(summary)}"
    accuracies = _moved(before["overall"]["accuracy"], after["overall"]["accuracy"])
    balanced = _moved(summary["bare_balanced_accuracy"]["test"], shown["balanced_accuracy"]["test"])
    return f"{start} {rows} the {name} {_moved(gap, new)} while accuracy {accuracies} and balanced accuracy {balanced}."


def scoring_sentence(summary: Json) -> str:
    """How the model comes to a label."""
    decision = decision_words(summary["labels"], summary["pos_label"], summary["threshold"])
    return f"The model's answer is {decision}; scores are {head_words(summary['head'])}."


def origin_sentence(summary: Json) -> str:
    """How the frozen model's bundle compares with the source that it was made from; empty if it was not compared."""
    record = summary.get("comparison")
    return f"Bundle: {ComparisonRecord(**record).sentence}." if record else ""


def cell_accuracies(counts: list[Any]) -> dict[tuple[str, int], tuple[int, int]]:
    """Rows [group, label, prediction, n] to (right, n) per (group, label)."""
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for group, label, prediction, n in counts:
        right, total = found.get((group, label), (0, 0))
        found[group, label] = (right + n * (label == prediction), total + n)
    return found


def _moved(before: Json, after: Json) -> str:
    """`fell from .410 [...] to .210 [...]`."""
    old, new = before["value"], after["value"]
    same = None in (old, new) or format_number(old) == format_number(new)
    verb = "went" if same else "fell" if new < old else "rose"
    return f"{verb} from {format_interval(before)} to {format_interval(after)}"
