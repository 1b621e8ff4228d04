"""Formatting of figures in reports: `.312 [.251, .378]`, signs where they matter, a dash where nothing is defined.

Reports are read here as the JSON values of metrics.json, so that every page agrees with that file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

DASH = "\N{EN DASH}"
"""The mark of an undefined figure."""

SYSTEMS = {
    "adv_post": "AdvPost",
    "adv_in": "AdvIN",
    "threshold": "threshold shift",
    "threshold_matched": "threshold shift, same positive rate",
    "constant": "constant predictor",
    "random": "random trigger",
    "shrink": "shrunk image alone",
    "black": "black in the trigger's place",
    "strength_zero": "trigger for utility alone",
    "hardt": "Hardt, groups known",
    "oxonfair": "OxonFair",
    "frappe": "FRAPPE",
    "linear_post": "LinearPost",
    "faap": "FAAP",
}
"""Names of baselines and controls, by their key in metrics.json."""

CURVES = ("threshold", "threshold_matched", "hardt", "oxonfair", "frappe", "linear_post")
"""Systems with many settings, of which tables show the chosen one."""

SWEPT = ("adv_post", "adv_in", "faap")
"""Systems with one entry per strength, of which validation chose one."""

CRITERIA = ("demographic_parity", "equalized_odds")


def format_number(value: float | None, digits: int = 3) -> str:
    """A rate or gap without its leading zero."""
    if value is None:
        return DASH
    text = f"{abs(value):.{digits}f}"
    sign = "\N{MINUS SIGN}" if value < 0 and float(text) else ""
    return sign + (text[1:] if text.startswith("0") else text)


def format_change(value: float | None, digits: int = 3) -> str:
    """A change; zero has no sign."""
    text = format_number(value, digits)
    return "+" + text if value is not None and float(f"{value:.{digits}f}") > 0 else text


def format_interval(figure: Json | None, *, change: bool = False) -> str:
    """`value [low, high]` of an estimate, gap or change."""
    if figure is None or figure.get("value") is None:
        return DASH
    write = format_change if change else format_number
    if figure.get("low") is None or figure.get("high") is None:
        return write(figure["value"])
    return f"{write(figure['value'])} [{write(figure['low'])}, {write(figure['high'])}]"


def format_count(value: int) -> str:
    """A count with thousands separated."""
    return f"{value:,}"


def format_seconds(value: float | None) -> str:
    """A duration: `0.8 s`, `47 s`, `3 min 20 s`, `2 h 05 min`."""
    if value is None:
        return DASH
    if value < 10:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def join_words(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def inputs_word(summary: Json) -> str:
    """The plural noun of the model's inputs."""
    return "images" if summary["modality"] == "image" else "texts"


def objective_gap(report: Json, criterion: str) -> tuple[str, Json]:
    """The gap that the objective lowers and selection uses, and its name in words.

    Two labels: the difference between groups. More: the mean over the labels, where the report has it. Groups that
    overlap: the mean distance to everyone, as published.
    """
    parity, gaps = criterion == "demographic_parity", report["gaps"]
    if report.get("groups_overlap"):
        name = "selection rate" if parity else "error rates"
        return f"mean distance to the overall {name}", gaps["paper_dp" if parity else "paper_eo"]
    key = "demographic_parity_difference" if parity else "average_odds_difference"
    name = key.replace("_", " ")
    macro = gaps.get(f"macro_{key}")
    return (f"{name}, mean over labels", macro) if macro else (name, gaps[key])


def system_name(system: str) -> str:
    """A system's name in words."""
    return SYSTEMS.get(system, system.replace("_", " "))


def other_criterion(criterion: str) -> str:
    """The criterion that was not trained."""
    return CRITERIA[criterion == CRITERIA[0]]


def in_group(cell: str, group: str, overlapping: bool) -> bool:
    """Whether rows counted under `cell` belong to `group`; overlapping identities are joined by " + "."""
    return cell == group or (overlapping and group in cell.split(" + "))


def group_rows(rows: Iterable[Sequence[Any]], group: str, overlapping: bool) -> list[Sequence[Any]]:
    """The rows [cell, ..., n] of a table of counts that belong to a group."""
    return [row for row in rows if in_group(row[0], group, overlapping)]


def shown_candidate(summary: Json) -> Json:
    """The candidate that the report shows in detail."""
    found: Json = next(one for one in summary["candidates"] if one["strength"] == summary["shown"])
    return found
