"""What a user wants to know first, in sentences whose every figure comes from the records, by fixed rules.

trigger   the report recommends a trigger in most seeds
other     it recommends another system in most seeds
nothing   it recommends nothing in most seeds
mixed     none of these has most seeds
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean

from benchmarks.results.baseline_check import RivalCheck
from benchmarks.results.problem import ADVISED, ASKS_FOR, MEASURES, Problem, advice_words, name_of
from benchmarks.results.run_record import NOTHING, RunRecord
from benchmarks.results.seed_mean import SeedMean
from benchmarks.results.tuning_curves import TuningCurve
from trainer.formatting import format_number, join_words
from triggers.metrics import wilson
from triggers.metrics.intervals import critical

RARE = 0.15
"""Share of a label below which it is called rare here."""
NOTICED = -0.01
"""Change of plain accuracy from which it is said beside that of balanced accuracy."""

HEADS = {
    "trigger": "**A trigger helps**, and the report recommends one in most runs:",
    "other": "**Use something else**: in most runs the report itself recommends another system than a trigger:",
    NOTHING: "**Nothing is recommended** in most runs, and the model stays as it is:",
    "mixed": "**It depends on the draw** of rows: no advice has most runs:",
}


def findings(
    problems: Sequence[Problem], checks: Sequence[RivalCheck] = (), curves: Sequence[TuningCurve] = ()
) -> list[str]:
    """Paragraphs and lists in Markdown, of at least one problem."""
    lines = [*_kinds_of_problem(problems), ""]
    for outcome, head in HEADS.items():
        own = [one for one in problems if one.outcome == outcome]
        if own:
            lines += [head, "", *(f"- {_line(one)}" for one in own), ""]
    lines += ["**What it costs, and when to use something else**", ""]
    said = (*_costs(problems), *_beaten(checks), *_rivals(problems), *map(_sizes, curves), *_held(problems))
    lines += [f"- {line}" for line in said]
    return [*lines, ""]


def held_share(records: Sequence[RunRecord]) -> str | None:
    """How many certified picks lose no more than the budget on test, with the Wilson interval; None without any."""
    certified = [one for one in records if one.certified]
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
    plain = problem.change(ADVISED, lambda one: one.accuracy)
    accuracy = f" ({plain.points} of accuracy)" if plain.value <= NOTICED else ""
    unsure = "" if change.clearly_below else " These seeds do not tell this change from none."
    return (
        f"{said}: the {problem.gap_name} goes from {format_number(bare)} to"
        f" {problem.mean(ADVISED, lambda one: one.gap).share}, a change of {change.change}, for"
        f" {balanced.points} points of balanced accuracy{accuracy}.{unsure}{rare}"
    )


def _costs(problems: Sequence[Problem]) -> Iterator[str]:
    """Balanced accuracy and the recall that suffers most, of what is recommended where that is a trigger."""
    helped = [one for one in problems if one.outcome == "trigger"]
    if not helped:
        return
    worst = min(helped, key=lambda one: one.change(ADVISED, lambda own: own.balanced).value)
    change = worst.change(ADVISED, lambda own: own.balanced)
    line = f"Where a trigger helps, balanced accuracy changes by {change.points} points at worst ({worst.title})"
    lowest = [(found, one) for one in helped if (found := one.lowest_recall(ADVISED))]
    if lowest:
        found, problem = min(lowest, key=lambda pair: pair[0].ratio)
        line += f"; the recall that falls most is {found.text} of what it was, on {problem.title}"
    yield f"{line}."


def _rivals(problems: Sequence[Problem]) -> Iterator[str]:
    """Per rival: on which problems it leaves clearly less of the gap than the plain trigger, and where clearly more."""
    names = dict.fromkeys(name for one in problems for name in one.rivals)
    for system in names:
        tried = [(one, one.difference(system, one.triggers[0])) for one in problems if system in one.rivals]
        better = [(one, found) for one, found in tried if found.clearly_below]
        worse = sum(found.n > 1 and found.clearly_above for _, found in tried)
        if better or worse:
            known = ASKS_FOR.get(system, "nothing")
            asks = " (a measure: it is told every group)" if system in MEASURES else f" (asks for: {known})"
            name = _capital(name_of(system))
            yield f"{name}{asks} leaves {_less(better)}, and clearly more on {worse}, of {len(tried)}."


def _less(better: Sequence[tuple[Problem, SeedMean]]) -> str:
    if not better:
        return "clearly less of the gap than the trigger on no problem"
    named = join_words([f"{one.title} ({found.change})" for one, found in better])
    return f"clearly less of the gap than the trigger on {len(better)}: {named}"


def _beaten(checks: Sequence[RivalCheck]) -> Iterator[str]:
    """On how many problems no rival leaves clearly less of the gap than what is recommended, and on which one does."""
    by_problem: dict[str, list[RivalCheck]] = {}
    for one in checks:
        by_problem.setdefault(one.problem.title, []).append(one)
    if not by_problem:
        return
    better = {title: [one for one in own if one.answer == "no"] for title, own in by_problem.items()}
    beaten = {title: own for title, own in better.items() if own}
    line = (
        "What the report recommends leaves no more of the gap than any rival, within the interval, on"
        f" {len(by_problem) - len(beaten)} of {len(by_problem)} problems"
    )
    named = [f"{title} ({join_words([name_of(one.rival) for one in own])})" for title, own in beaten.items()]
    yield f"{line}; clearly less is left on {join_words(named)}." if named else f"{line}."


def _sizes(curve: TuningCurve) -> str:
    """What the smallest and the largest tuning part leave, and where half of the gap is gone."""
    trigger, *others = curve.systems
    means, half = curve.means(trigger), curve.bare.value / 2
    ends = [f"{format_number(means[size].value)} with {size:,}" for size in (min(means), max(means))]
    beside = [f"{name_of(name)}: {curve.reached(name, half).text}" for name in others]
    return (
        f"Rows of tuning, on {curve.title}: a trigger leaves {join_words(ends)} of a gap of"
        f" {format_number(curve.bare.value)}; half of it is gone with {curve.reached(trigger, half).text} rows"
        + (f" ({'; '.join(beside)})." if beside else ".")
    )


def _held(problems: Sequence[Problem]) -> Iterator[str]:
    """Certified picks that hold on test."""
    records = [one for problem in problems for one in problem.records]
    held, deltas = held_share(records), {one.json["select"]["delta"] for one in records}
    if held:
        aim = " or ".join(_share(1 - delta) for delta in sorted(deltas))
        noise = mean(one.rows[2] for one in records)
        yield (
            f"Certified picks that lose no more than the budget on test: {held}; promised are {aim} of the true losses,"
            f" to which the test's {noise:,.0f} rows (mean) add noise of their own."
        )


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
