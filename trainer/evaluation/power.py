"""Power of a run's size, before anything is trained: what its test rows can show and its validation rows certify.

A gap is visible where the interval that the report gives it excludes 0. A loss is certified where every test of
trainer/evaluation/recommendation.py passes. Everything is planned by normal approximation for a probability of POWER.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from trainer.config import Criterion, SelectConfig
from trainer.evaluation.certification import EXTRA_CHANGED, OUT_OF_REACH
from trainer.evaluation.selection import FEW_HITS, RecallCell
from triggers.metrics.critical_values import critical
from triggers.metrics.intervals import newcombe, simultaneous_quantile
from triggers.metrics.rates import CountTable, Rate

POWER = 0.8
CONFIDENCE = 0.95
"""Confidence of the intervals in a report."""
TYPICAL_CHANGES = 0.1
"""Share of the answers, of every label, that a typical trigger changes."""
UNKNOWN_RATE = 0.5
"""Rate to plan with where the model is not fitted yet: the one with the widest intervals."""


@dataclass(frozen=True)
class VisibleGap:
    """The smallest gap that is visible with probability POWER; None: not even the largest is.

    `groups` are the two that it lies between, or where groups overlap the one whose distance to everyone it is.
    """

    value: float | None
    groups: tuple[str, ...]


@dataclass(frozen=True)
class CertificationPower:
    """What validation rows can certify of a trigger that changes a share `changed` of the answers.

    `no_loss`: the probability for a trigger that loses nothing. `largest_loss`: the true loss, the same in every label,
    that is certified with probability POWER, negative where only a gain is; None: nothing is. `rows_needed`: the
    validation rows at which no loss is certified with that probability; None: out of reach.
    """

    rows: int
    changed: float
    no_loss: float
    largest_loss: float | None
    rows_needed: int | None


@dataclass(frozen=True)
class _Comparison:
    """Two sets of rows with rates around `rate`; the gap is `scale` times the difference of their rates."""

    rate: float
    rows: tuple[int, int]
    scale: float = 1.0

    def power(self, gap: float, z: float) -> float:
        """Probability that the interval of the difference excludes 0, as the mean over which set has more."""
        difference = gap / self.scale
        low = min(max(self.rate - difference / 2, 0.0), 1 - difference)
        high = low + difference
        powers = []
        for more, less in (self.rows, self.rows[::-1]):
            limit = float(newcombe(high * more, more, low * less, less, z)[0])
            deviation = math.sqrt(max(high * (1 - high), 0.0) / more + low * (1 - low) / less)
            powers.append(NormalDist().cdf(limit / max(deviation, 1e-9)))
        return sum(powers) / 2


def visible_gaps(
    test: CountTable, bare: CountTable | None, criterion: Criterion, pos_label: int, labels: int
) -> list[VisibleGap]:
    """The smallest visible gap between the two largest groups and, if there are more, between the two smallest ones.

    Where groups overlap: the largest group's distance to everyone, and the smallest one's.
    `test` holds the test rows, whatever the predictions; `bare` predictions of the model, None if it is not fitted. The
    gap is that of selection, the same in all of its rates. Empty where a rate cannot be compared.
    """
    rates = [rate.comparable() for rate in _criterion_rates(test, criterion, pos_label, labels)]
    known = [_pooled(rate) for rate in _criterion_rates(bare, criterion, pos_label, labels)] if bare else []
    known = known or [UNKNOWN_RATE] * len(rates)
    names = [name for name in rates[0].names if all(name in rate.names for rate in rates)]
    names.sort(key=lambda name: min(_rows_of(rate, name) for rate in rates), reverse=True)
    if len(names) < 2:
        return []
    if test.overlapping:
        z = critical(CONFIDENCE, sum(len(rate.names) for rate in rates))
        found = [VisibleGap(_smallest(_to_everyone(rates, known, name), z), (name,)) for name in (names[0], names[-1])]
    else:
        z = simultaneous_quantile(CONFIDENCE, max(len(rate.names) for rate in rates), len(rates))
        pairs = [(names[0], names[1]), (names[-2], names[-1])]
        found = [VisibleGap(_smallest(_between(rates, known, *pair), z), pair) for pair in pairs]
    return list(dict.fromkeys(found))


def certification_power(
    rows: Mapping[RecallCell, int],
    recalls: Mapping[int, float],
    select: SelectConfig,
    changed: float = TYPICAL_CHANGES,
) -> CertificationPower:
    """What these validation rows, of every label over all rows (group None) and in every group, can certify.

    `recalls` are the bare model's, per label; empty: not fitted yet, and the floors of recalls are left out.
    """
    total = sum(n for (_, group), n in rows.items() if group is None)

    def probability(loss: float, factor: float = 1.0) -> float:
        tests = _tests({cell: n * factor for cell, n in rows.items() if n}, recalls, select, changed)
        return max(0.0, 1 - sum(1 - test.power(loss) for test in tests))

    budget = select.max_accuracy_drop
    certain = probability(-changed) >= POWER
    largest = _last(lambda loss: probability(loss) >= POWER, -changed, budget) if certain else None
    most = OUT_OF_REACH / total
    reachable = budget > 0 and probability(0.0, most) >= POWER
    factor = -_last(lambda negative: probability(0.0, -negative) >= POWER, -most, -1 / total) if reachable else None
    needed = None if factor is None else math.ceil(factor * total)
    return CertificationPower(total, changed, probability(0.0), largest, needed)


@dataclass(frozen=True)
class _LossTest:
    """A test that passes where the mean loss over some sets of rows, as counted, is `limit` or less."""

    limit: float
    rows: Sequence[float]
    changed: float

    def power(self, loss: float) -> float:
        return NormalDist().cdf((self.limit - loss) / _deviation(self.rows, loss, self.changed))


def _tests(
    rows: Mapping[RecallCell, float], recalls: Mapping[int, float], select: SelectConfig, changed: float
) -> list[_LossTest]:
    """The tests that a certified trigger passes: of the budget, and of the floor of every label's recall."""
    labels = {label: n for (label, group), n in rows.items() if group is None}
    match select.measure:
        case "accuracy":
            sets = [[sum(labels.values())]]
        case "balanced_accuracy":
            sets = [list(labels.values())]
        case "recall":
            sets = [[n] for n in rows.values()]
    z, budget = NormalDist().inv_cdf(1 - select.delta), select.max_accuracy_drop
    tests = []
    for each in sets:
        limit = budget - z * _deviation(each, budget, changed, EXTRA_CHANGED) - _half_a_row(each)
        tests.append(_LossTest(limit, each, changed))
    for label, n in labels.items():
        recall = recalls.get(label, 0.0)
        floor = select.min_recall_ratio * recall
        if recall * n >= FEW_HITS and floor > 0:
            limit = recall - floor - z * math.sqrt(floor * (1 - floor) / n) - _half_a_row([n])
            tests.append(_LossTest(limit, [n], changed))
    return tests


def _deviation(rows: Sequence[float], loss: float, changed: float, extra: int = 0) -> float:
    """Standard deviation of the mean loss over sets of rows."""
    variances = [(min(1.0, max(changed, abs(loss)) + extra / n) - loss**2) / n for n in rows]
    return max(math.sqrt(sum(variances)) / len(rows), 1e-9)


def _half_a_row(rows: Sequence[float]) -> float:
    """What a test loses as rows are whole; nothing where the losses of several sets fill the steps."""
    return 0.5 / rows[0] if len(rows) == 1 else 0.0


def _criterion_rates(table: CountTable, criterion: Criterion, pos_label: int, labels: int) -> list[Rate]:
    """The rates that selection's gap compares."""
    classes = [pos_label] if labels == 2 else range(labels)
    if criterion == "demographic_parity":
        return [table.selection(each) for each in classes]
    return [rate(each) for each in classes for rate in (table.true_positive, table.false_positive)]


def _pooled(rate: Rate) -> float:
    """The rate over everyone, drawn towards one half so that it is never 0 or 1."""
    hits, n = rate.everyone
    return (hits + 1) / (n + 2)


def _between(rates: Sequence[Rate], known: Sequence[float], one: str, other: str) -> list[_Comparison]:
    return [
        _Comparison(value, (_rows_of(rate, one), _rows_of(rate, other)))
        for rate, value in zip(rates, known, strict=True)
    ]


def _to_everyone(rates: Sequence[Rate], known: Sequence[float], name: str) -> list[_Comparison]:
    """A group against the rest; its distance to everyone is the rest's share of that to the rest."""
    found = []
    for rate, value in zip(rates, known, strict=True):
        own, n = _rows_of(rate, name), rate.everyone[1]
        if own < n:
            found.append(_Comparison(value, (own, n - own), (n - own) / n))
    return found


def _rows_of(rate: Rate, name: str) -> int:
    return int(rate.n[rate.names.index(name)])


def _smallest(comparisons: Sequence[_Comparison], z: float) -> float | None:
    """The smallest gap, the same in all comparisons, that is visible in any of them with probability POWER."""

    def visible(gap: float) -> bool:
        return math.prod(1 - one.power(gap, z) for one in comparisons) <= 1 - POWER

    most = min((one.scale for one in comparisons), default=0.0)
    return -_last(lambda negative: visible(-negative), -most, 0.0) if comparisons and visible(most) else None


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The largest number at which something holds that holds at `low`, and from some number on no more."""
    if holds(high):
        return high
    while high - low > 1e-6 * max(1.0, abs(low)):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
