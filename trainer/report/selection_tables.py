"""How the recommendation was made: the rules, the tests in the order of strengths, the nearest rivals on validation."""

from __future__ import annotations

from collections.abc import Collection

from trainer.evaluation.recommendation import CHEAPER, CLEAR, MEASURES, RETRAINED, RULES, TIE
from trainer.evaluation.selection import FEW_HITS
from trainer.formatting import (
    CURVES,
    Json,
    format_count,
    format_interval,
    format_number,
    join_words,
    objective_gap,
    shown_candidate,
    system_name,
)
from trainer.report.report_tables import ReportTable
from trainer.report.rivals import alternatives

HELD_AGAINST = (*CHEAPER, *RULES, *RETRAINED, "hardt")
"""Systems that the table of rivals has."""


def selection_rules(summary: Json) -> list[str]:
    """The rules of this run's selection in sentences, with their figures; the first one has budget and floor."""
    record = shown_candidate(summary)["selection"]
    measure, delta = MEASURES[record["measure"]], record["delta"]
    compared = {one["system"] for one in summary.get("comparisons", ())}
    missing = [system_name(name) for name in CHEAPER if name not in compared and name not in ("shrink", "black")]
    left_out = f" Not made in this run: {join_words(missing)}." if missing else ""
    return [
        f"Selection: at most {record['budget']:g} of {measure} may be lost beside the bare model on"
        f" {format_count(record['rows'])} validation rows, and no label's recall, over all rows and in any group, may"
        f" fall below {record['min_recall_ratio']:g} of the bare model's; in a group, where that gets {FEW_HITS} rows"
        " right or more.",
        "Tested are the triggers after the last step, from the weakest strength on, until one fails: the null"
        f" hypothesis is that the budget is broken or a label's recall at its floor, delta {delta:g}. So with"
        f" confidence {1 - delta:g} no certified trigger breaks its budget; others can only be promising. The gap must"
        f" also be smaller than the bare model's by {CLEAR:g} standard deviations of their difference.",
        "Recommended is the smallest gap among certified triggers, else among promising ones. Gaps within"
        f" {TIE:g} standard deviation of their difference are ties, which the smaller loss wins.",
        "Something cheaper that is useful itself, and whose gap is not clearly larger, takes the recommendation away."
        f"{left_out}",
        *_rules_on_outputs(compared),
    ]


def _rules_on_outputs(compared: Collection[str]) -> list[str]:
    """How rules on the model's outputs are judged, where the run made any."""
    made = [system_name(name) for name in RULES if name in compared]
    if not made:
        return []
    hardt = " Hardt's rule needs everybody's group at prediction: it is a measure, never recommended."
    return [
        f"Rules on the model's outputs ({join_words(made)}) are fitted on tuning and tested as triggers are, each"
        " method's from the weakest on; the methods share delta. One is recommended in the trigger's place if its gap"
        " is clearly smaller by the same word, with allowance for their number, or if it is certified where the trigger"
        f" is only promising.{hardt if 'hardt' in compared else ''}"
    ]


def selection_tests(summary: Json) -> ReportTable:
    """Per strength, the weakest first: loss and bound, p-value, lowest recall, gap on validation, and the word."""
    criterion = summary["config"]["objective"]["criterion"]
    ones = sorted(summary["candidates"], key=lambda one: float(one["strength"]))
    name = objective_gap(summary["bare"]["val"], criterion)[0]
    rows = [
        [
            f"{one['strength']:g}",
            format_count(one["step"]),
            format_number(one["selection"]["loss"], 4),
            format_number(one["selection"]["bound"], 4),
            _p_value(one["p_value"]),
            _lowest_recall(one["selection"]),
            format_interval(objective_gap(one["splits"]["val"], criterion)[1]),
            one["selection"]["status"],
        ]
        for one in ones
    ]
    record = ones[0]["selection"]
    head = ["strength", "step", "loss", "bound", "p-value", "lowest recall kept", name, "validation says"]
    caption = (
        f"Validation, n = {format_count(record['rows'])}. Loss of {MEASURES[record['measure']]} (negative: a gain) and"
        f" its upper bound at confidence {1 - record['delta']:g}, where certified. The p-value is that of a trigger"
        " after the last step; earlier ones, kept where nothing is proved, have none."
    )
    marked = frozenset(at for at, one in enumerate(ones) if one["strength"] == summary["best"])
    return ReportTable(caption, head, rows, marked=marked, texts=1)


def nearest_rivals(summary: Json) -> ReportTable:
    """The trigger that is shown and what it was held against, with the figures of validation that decided."""
    criterion, shown = summary["config"]["objective"]["criterion"], shown_candidate(summary)
    trigger = {**shown, "setting": f"strength {shown['strength']:g}"}
    rows, marked = [_rival("trigger", trigger, criterion, shown["selection"]["reason"])], set()
    for at, one in enumerate(summary.get("comparisons", ())):
        several = one["system"] in (*CURVES, *RULES, *RETRAINED)
        if one["system"] not in HELD_AGAINST or (several and not one["chosen"] and at != summary["rival"]):
            continue
        said = _said(summary, at, one)
        if at in (summary["rival"], alternatives(summary)["better"]):
            marked.add(len(rows))
        rows.append(_rival(system_name(one["system"]), one, criterion, said))
    name = objective_gap(summary["bare"]["val"], criterion)[0]
    caption = (
        f"The trigger that is shown, and what it was held against. Validation, n ="
        f" {format_count(summary['bare']['val']['n'])}, 95 % intervals."
    )
    head = ["system", "setting", "accuracy", "balanced accuracy", name, "validation says"]
    return ReportTable(caption, head, rows, stubs=2, marked=frozenset(marked), texts=1)


def _said(summary: Json, at: int, one: Json) -> str:
    """What validation says of a rival, in words."""
    beside, record = alternatives(summary), one["selection"] or {}
    if at == summary["rival"]:
        return "does as well as any trigger"
    if one["system"] == "hardt":
        return "a measure: it needs everybody's group"
    if one["system"] not in (*RULES, *RETRAINED) or record.get("status") in (None, "not recommended"):
        return str(record.get("reason", ""))
    said = [record["status"]]
    said += ["recommended instead of a trigger"] * (at == beside["better"])
    said += ["does as well"] * (at in beside["equal"])
    said += ["a clearly smaller gap"] * (at in (*beside["unproved"], *beside["retrained"]))
    return ", ".join(said)


def _rival(name: str, one: Json, criterion: str, said: str) -> list[str]:
    report = one["splits"]["val"]
    return [
        name,
        one["setting"],
        format_interval(report["overall"]["accuracy"]),
        format_interval(one["balanced_accuracy"]["val"]),
        format_interval(objective_gap(report, criterion)[1]),
        said,
    ]


def _p_value(value: float | None) -> str:
    return "< .001" if value is not None and value < 0.001 else format_number(value)


def _lowest_recall(record: Json) -> str:
    if record["lowest_recall"] is None:
        return format_number(None)
    return f"{format_number(record['lowest_recall_ratio'], 2)} ({record['lowest_recall']})"
