"""Whether what the report recommends leaves no more of the gap than any rival does, problem by problem.

yes              it is below the rival or equal to it: the interval of the difference over the seeds reaches 0 or less
recommended      the report recommends this rival in most seeds
named            it leaves clearly more, and in most seeds the report says so: of a rule that is not proved, or for
                 those who may change the weights
no               it leaves clearly more
measure          the rival is told every group, which no system that is recommended may ask for

python -m benchmarks.results --check        prints it from the records of docs/results
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.results.problem import ADVISED, MEASURES, Problem, advice_words, name_of
from benchmarks.results.seed_mean import SeedMean

Answer = Literal["yes", "recommended", "named", "no", "measure"]


@dataclass(frozen=True)
class RivalCheck:
    """One rival on one problem; `difference` is the recommended system's gap less the rival's."""

    problem: Problem
    rival: str
    difference: SeedMean
    answer: Answer


def check_baselines(problems: Sequence[Problem]) -> list[RivalCheck]:
    """All rivals on all problems."""
    return [_check(problem, rival) for problem in problems for rival in problem.rivals]


def passed(checks: Sequence[RivalCheck]) -> bool:
    """Whether no answer is no."""
    return all(one.answer != "no" for one in checks)


def check_lines(checks: Sequence[RivalCheck]) -> Iterator[str]:
    """A table: a row per problem and rival."""
    yield "| problem | the report recommends | rival | its gap | recommended less rival | at or below |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in checks:
        gap = one.problem.mean(one.rival, lambda figures: figures.gap)
        cells = [one.problem.title, advice_words(one.problem), name_of(one.rival), gap.share]
        yield f"| {' | '.join([*cells, one.difference.change, one.answer])} |"


def _check(problem: Problem, rival: str) -> RivalCheck:
    difference = problem.difference(ADVISED, rival)
    answer: Answer = "no" if difference.clearly_above else "yes"
    if rival in MEASURES:
        answer = "measure"
    elif 2 * problem.advice[rival] > len(problem.plain):
        answer = "recommended"
    elif answer == "no" and 2 * sum(rival in one.named for one in problem.plain) > len(problem.plain):
        answer = "named"
    return RivalCheck(problem, rival, difference, answer)
