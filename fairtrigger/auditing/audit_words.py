"""What the figures of an audit mean, in plain sentences, and what to mind: nothing here calls a model fair."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from fairtrigger.auditing.audited_counts import SMALL_CELL, WITHOUT_TRIGGER, AuditInput, shown_group
from trainer.formatting import Json, format_change, format_count, format_number, join_words

SPOKEN_GAPS = {
    "demographic_parity_difference": "selection rates",
    "equal_opportunity_difference": "true positive rates",
    "false_positive_rate_difference": "false positive rates",
    "accuracy_difference": "accuracies",
}
NO_VERDICT = (
    "These figures describe the rows that were counted. They do not show that a model is fair: a difference that is "
    "not seen may be there, other groups and other measures may differ, and labels may themselves be biased."
)
REASONS = {
    "zero_denominator": "nothing to divide by",
    "insufficient_groups": "fewer than two groups can be compared",
}


def findings(found: AuditInput, derived: Json) -> list[str]:
    """One sentence for each version and gap, one for each paired change, and what none of them says."""
    said = [
        _gap_sentence(_of(version, len(found.versions)), words, figures["gaps"][gap], found)
        for version, figures in derived["figures"].items()
        for gap, words in SPOKEN_GAPS.items()
        if figures["gaps"][gap]["value"] is not None
    ]
    for after, change in derived["paired"].items():
        said += _change_sentences(after, change)
    return [*said, NO_VERDICT]


def _prefix(version: str, found: AuditInput) -> str:
    """Whom a caution is about, where there are several."""
    return f"{version}: " if len(found.versions) > 1 else ""


def _of(version: str, versions: int) -> str:
    if versions == 1 and version != WITHOUT_TRIGGER:
        return ""
    return "Without a trigger, " if version == WITHOUT_TRIGGER else f"Under {version}, "


def _gap_sentence(start: str, words: str, gap: Json, found: AuditInput) -> str:
    limits = f"{format_number(gap['low'])} to {format_number(gap['high'])}"
    interval = f"{found.terms.confidence * 100:g} % interval {limits}"
    ends = ""
    if gap["lowest"] and gap["value"]:
        lowest, highest = (shown_group(found.terms.attributes, gap[end]) for end in ("lowest", "highest"))
        ends = f", lowest for {lowest}, highest for {highest}"
    if gap["low"] > 0:
        meaning = "more than chance explains"
    else:
        meaning = "chance alone could explain it, which does not show that there is none"
    sentence = (
        f"{start}the {words} of groups differ by up to {format_number(gap['value'])} ({interval}{ends}): {meaning}."
    )
    return sentence[0].upper() + sentence[1:]


def _change_sentences(after: str, change: Json) -> list[str]:
    before = "no trigger" if change["before"] == WITHOUT_TRIGGER else change["before"]
    rows = f"On the {format_count(change['n'])} rows that both decided, {after} instead of {before}"
    flipped = f"{rows} changes {format_count(change['flipped'])} decisions."
    gain = change["gains"]["demographic_parity_difference"]
    said = flipped
    if gain["value"] is not None:
        way = "narrows" if gain["value"] >= 0 else "widens"
        limits = f"{format_change(-gain['high'])} to {format_change(-gain['low'])}"
        proof = "beyond chance" if gain["low"] > 0 or gain["high"] < 0 else "which chance alone could explain"
        said += (
            f" It {way} the difference of selection rates from {format_number(gain['before'])} to "
            f"{format_number(gain['after'])} (change {format_change(-gain['value'])}, interval {limits}), {proof}."
        )
    return [said]


def audit_cautions(found: AuditInput, derived: Json) -> list[str]:
    """What is missing from the counts, and what they are too few to say."""
    said = [*_source_cautions(found.source)]
    for version, missing in derived["missing"].items():
        said += _missing_cautions(version, missing, found, derived["figures"][version])
    for version, figures in derived["figures"].items():
        start = _prefix(version, found)
        small = sorted({shown_group(found.terms.attributes, cell["group"]) for cell in figures["small_cells"]})
        if small:
            listed = "; ".join(small if len(small) <= 6 else [*small[:6], f"and {len(small) - 6} more"])
            said.append(
                f"{start}Too few rows to say (some rate over fewer than {SMALL_CELL}): {listed}. Their rates "
                "are shown, are in the gaps, and prove little alone."
            )
        undefined = [
            f"{gap.replace('_', ' ')} ({REASONS.get(facts['reason'], facts['reason'])})"
            for gap, facts in figures["gaps"].items()
            if facts["value"] is None and gap in SPOKEN_GAPS and facts["reason"] != "no_labels"
        ]
        said += [f"{start}Not defined: {join_words(undefined)}."] if undefined else []
    return said


def _missing_cautions(version: str, missing: Json, found: AuditInput, figures: Json) -> list[str]:
    rows, said, start = missing["rows"], [], _prefix(version, found)
    for attribute, n in missing["without_group"].items():
        if n:
            said.append(
                f"{start}{format_count(n)} of {format_count(rows)} rows have no known {attribute} (empty, NaN or "
                "unknown): they count in overall rates and are compared with nobody."
            )
    n = missing["without_any_of_them"]
    if len(found.terms.attributes) > 1 and n:
        said.append(f"{start}{format_count(n)} rows lack at least one attribute, and are in no intersection.")
    unlabelled = missing["unlabelled"]
    if unlabelled == rows:
        said.append(f"{start}No row has a true label: there are selection rates, and no rates of errors.")
    elif unlabelled:
        said.append(
            f"{start}{format_count(unlabelled)} of {format_count(rows)} rows have no true label. If labels come "
            "more often for some decisions or groups than for others, all rates of errors are biased"
            f"{_coverage_words(figures, found)}."
        )
    return said


def _coverage_words(figures: Json, found: AuditInput) -> str:
    shares = {
        name: sum(cell["labelled"] for cell in cells.values()) / total
        for name, cells in figures["coverage"]["by_group"].items()
        if (total := sum(cell["n"] for cell in cells.values()))
    }
    if len(shares) < 2:
        return ""
    least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    said = [f"{shares[name]:.0%} of {shown_group(found.terms.attributes, name)}" for name in (least, most)]
    return f" (labelled: {said[0]}, {said[1]})"


def _source_cautions(source: Json) -> list[str]:
    """What a service says of its own counts."""
    said = []
    if source.get("stale"):
        said.append(f"The service could not read its counts: these are of {source['as_of']}.")
    if source.get("disclosure"):
        said.append(
            "Read without the admin token: counts are those that the service disclosed, late, with noise, and without "
            "small groups. Every figure is computed from them, not from exact ones."
        )
    if loss := source.get("possible_loss"):
        said.append(
            f"Counts of at most {loss['at_most_seconds']:g} seconds between {loss['since']} and {loss['until']} may be "
            f"missing, and {format_count(loss['dropped'])} were dropped: {join_words(loss['reasons'])}."
        )
    for warning in source.get("warnings", ()):
        said.append(f"{format_count(warning['n'])} predictions are counted as {warning['group']} ({warning['code']}).")
    if source.get("shadows_left_out"):
        said.append(f"Not audited, as nobody got their answers: shadows {join_words(source['shadows_left_out'])}.")
    return said


def period_words(period: Sequence[str] | None, made_at: str) -> list[str]:
    """What Local Law 144 asks about time: the data's period, and how long the audit may be relied on."""
    made = date.fromisoformat(made_at[:10])
    end = made.replace(year=made.year + 1) if (made.month, made.day) != (2, 29) else date(made.year + 1, 2, 28)
    relied = f"An audit may be relied on for one year: this one, made on {made}, until {end}."
    if period is None:
        return ["The period of the data is not stated: give --period SINCE/UNTIL.", relied]
    since, until = map(date.fromisoformat, period)
    days = (until - since).days + 1
    over = "" if days <= 366 else ", which is more than a year"
    return [f"Data from {since} to {until}, {format_count(days)} days{over}.", relied]
