"""What a user wants to know first, in sentences whose every figure comes from the records, by fixed rules.

trigger   the report recommends a trigger in most seeds
other     it recommends something cheaper in most seeds
nothing   it recommends nothing in most seeds
mixed     none of these has most seeds
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean

from benchmarks.results.problem import ADVISED, MEASURES, Problem, name_of
from benchmarks.results.run_record import NOTHING, RunRecord
from benchmarks.results.seed_mean import SeedMean, seed_mean
from trainer.formatting import format_number, join_words
from triggers.metrics import wilson
from triggers.metrics.intervals import critical

RARE = 0.15
"""Share of a label below which it is called rare here."""

HEADS = {
    "trigger": "**A trigger helps**, and the report recommends one in most runs:",
    "other": "**Use something else**: in most runs the report itself recommends what costs less than a trigger:",
    NOTHING: "**Nothing is recommended** in most runs, and the model stays as it is:",
    "mixed": "**It depends on the draw** of rows: no advice has most runs:",
}


def findings(problems: Sequence[Problem], records: Sequence[RunRecord]) -> list[str]:
    """Paragraphs and lists in Markdown."""
    lines = [*_kinds_of_problem(problems), ""]
    for outcome, head in HEADS.items():
        own = [one for one in problems if one.outcome == outcome]
        if own:
            lines += [head, "", *(f"- {_line(one)}" for one in own), ""]
    lines += ["**What it costs, and when to use something else**", ""]
    lines += [f"- {line}" for line in (*_costs(problems), *_rivals(problems), *_held(records))]
    return [*lines, ""]


def advice_words(problem: Problem) -> str:
    """`overlay 3, FRAPPE's head 1, nothing 1`, commonest first."""
    return ", ".join(f"{name_of(name)} {times}" for name, times in problem.advice.most_common())


def held_share(records: Sequence[RunRecord]) -> str | None:
    """How many certified picks lose no more than the budget on test, with the Wilson interval; None without any."""
    certified = [one for one in records if one.status == "certified"]
    if not certified:
        return None
    hits = sum(one.advised.loss <= one.rule.select.max_accuracy_drop + 1e-9 for one in certified)
    low, high = (float(limit) for limit in wilson(hits, len(certified), critical(0.95)))
    return f"{hits} of {len(certified)} ({_share(low)} to {_share(high)})"


def _kinds_of_problem(problems: Sequence[Problem]) -> Iterator[str]:
    """How often a trigger is what most runs recommend, where labels are common and where one is rare."""
    common = [one for one in problems if one.rarest[1] >= RARE]
    rare = [one for one in problems if one.rarest[1] < RARE]
    parts = []
    for own, where in (
        (common, f"where every label holds at least {_share(RARE)} of the rows"),
        (rare, "where a label is rarer than that"),
    ):
        if own:
            helped = sum(one.outcome == "trigger" for one in own)
            problem = "problem" if len(own) == 1 else "problems"
            parts.append(f"{helped} of {len(own)} {problem} {where}")
    yield f"A trigger is what most runs recommend on {' and on '.join(parts)}."


def _line(problem: Problem) -> str:
    bare, change = mean(one.gap for one in problem.bare), problem.change(ADVISED, lambda one: one.gap)
    label, share = problem.rarest
    rare = f" `{label}` is {_share(share)} of the rows." if share < RARE else ""
    said = f"*{problem.title}* (recommended: {advice_words(problem)})"
    if problem.outcome == NOTHING and problem.advice[NOTHING] == len(problem.plain):
        return f"{said}: the {problem.gap_name} stays {format_number(bare)}.{rare}"
    balanced = problem.change(ADVISED, lambda one: one.balanced)
    return (
        f"{said}: the {problem.gap_name} goes from {format_number(bare)} to"
        f" {problem.mean(ADVISED, lambda one: one.gap).text()}, a change of {change.text(change=True)}, for"
        f" {balanced.points()} points of balanced accuracy.{rare}"
    )


def _costs(problems: Sequence[Problem]) -> Iterator[str]:
    """Balanced accuracy and the recall that suffers most, of what is recommended where that is a trigger."""
    helped = [one for one in problems if one.outcome == "trigger"]
    if not helped:
        return
    worst = min(helped, key=lambda one: one.change(ADVISED, lambda own: own.balanced).value)
    change = worst.change(ADVISED, lambda own: own.balanced)
    line = f"Where a trigger helps, balanced accuracy changes by {change.points()} points at worst ({worst.title})"
    lowest = [(found, one) for one in helped if (found := one.lowest_recall(ADVISED))]
    if lowest:
        found, problem = min(lowest, key=lambda pair: pair[0].ratio)
        line += f"; the recall that falls most is {found.text()} of what it was, on {problem.title}"
    yield f"{line}."


def _rivals(problems: Sequence[Problem]) -> Iterator[str]:
    """Per rival: on which problems it leaves clearly less of the gap than the plain trigger, and where clearly more."""
    names = dict.fromkeys(name for one in problems for name in one.rivals)
    for system in names:
        tried = [(one, one.difference(system, one.triggers[0])) for one in problems if system in one.rivals]
        better = [(one, found) for one, found in tried if found.clearly_below]
        worse = sum(found.n > 1 and found.clearly_above for _, found in tried)
        if better or worse:
            asks = " (a measure: it is told every group)" if system in MEASURES else ""
            name = _capital(name_of(system))
            yield f"{name}{asks} leaves {_less(better)}, and clearly more on {worse}, of {len(tried)}."


def _less(better: Sequence[tuple[Problem, SeedMean]]) -> str:
    if not better:
        return "clearly less of the gap than the trigger on no problem"
    named = join_words([f"{one.title} ({found.text(change=True)})" for one, found in better])
    return f"clearly less of the gap than the trigger on {len(better)}: {named}"


def _held(records: Sequence[RunRecord]) -> Iterator[str]:
    """Certified picks that hold on test."""
    held, deltas = held_share(records), {one.json["select"]["delta"] for one in records}
    if held:
        aim = " or ".join(_share(1 - delta) for delta in sorted(deltas))
        noise = seed_mean([one.rows[2] for one in records]).value
        yield (
            f"Certified picks that lose no more than the budget on test: {held}; promised are {aim} of the true losses,"
            f" to which the test's {noise:,.0f} rows (mean) add noise of their own."
        )


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
