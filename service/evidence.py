"""What sealed minutes say against a version: tests that stay valid however often, and whenever, one looks.

The null hypothesis of each test is that all is well. Its e-value exceeds tests / alpha with probability alpha / tests
at most (Ville), so that any false alarm has probability alpha at most (Bonferroni). Groups that overlap are compared by
their finest cells, which share no rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.bets import Floats
from service.e_processes import AboveLimit, AccuracyLost, EProcess, Worse
from service.samples import (
    Apart,
    Blocks,
    CellIndex,
    Layout,
    Minutes,
    Numbered,
    Paired,
    hits_of,
    rates_of,
    rows_of,
)
from triggers.records import version_name

ABOVE_LIMIT, WORSE, ACCURACY_LOST = "disparity_above_limit", "worse_than_before", "accuracy_lost"
LARGEST = 1e12
"""E-values beyond are shown as this."""


@dataclass(frozen=True)
class Question:
    """What is asked of `version`: `metric` above `limit`, or worse by more than `limit` than that of `against`.

    `twins` compares with the bare model's answers to the same inputs, and `against` is None.
    """

    test: str
    metric: str
    version: int | None
    limit: float
    against: int | None = None
    twins: bool = False

    @property
    def labels(self) -> bool:
        """Whether only rows with a label say something about it."""
        return self.test == ACCURACY_LOST or self.metric != "demographic_parity_difference"


@dataclass(frozen=True)
class Evidence:
    """The answer so far. `peak` is the largest e-value there was; the alarm is raised when it reaches `threshold`.

    `counts` are [hits, rows] by version, rate and group, over all blocks; minutes count from 1970.
    """

    question: Question
    alpha: float
    threshold: float
    e_value: float
    peak: float
    blocks: int
    n: int
    since: int | None
    until: int | None
    counts: Mapping[str, Mapping[str, Mapping[str, list[int]]]]

    @property
    def fired(self) -> bool:
        """Whether "all is well" is rejected at alpha."""
        return self.peak >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; versions by name."""
        compares = self.question.test != ABOVE_LIMIT
        named = {
            "version": version_name(self.question.version),
            "against": version_name(self.question.against) if compares else None,
        }
        answer = {name: value for name, value in vars(self).items() if name != "question"}
        return vars(self.question) | named | answer | {"fired": self.fired}


class SequentialTests:
    """Tests of all questions over minutes that come one after another; they share alpha. For one thread at a time.

    What a minute costs does not grow with the minutes before, nor does what is kept.
    """

    def __init__(
        self, questions: Sequence[Question], *, alpha: float, pos_label: int, attributes: Sequence[str] = ()
    ) -> None:
        self._alpha, self._threshold = alpha, len(questions) / alpha if questions else math.inf
        self._index = {needs_label: CellIndex() for needs_label in (False, True)}
        self._tests = [SequentialTest(each, self._index[each.labels], pos_label, attributes) for each in questions]

    def add(self, made: Minutes, labelled: Minutes) -> None:
        """Weigh minutes after all those before: `made` are predictions, `labelled` those by their labels."""
        for needs_label, minutes in ((False, made), (True, labelled)):
            tests = [each for each in self._tests if each.question.labels == needs_label]
            for minute in sorted(minutes) if tests else ():
                counts = self._index[needs_label].numbered(minutes[minute])
                for test in tests:
                    test.add(minute, counts)
            for test in tests:
                test.settle()

    def evidence(self) -> list[Evidence]:
        """The evidence on every question so far."""
        return [each.evidence(self._alpha, self._threshold) for each in self._tests]


class SequentialTest:
    """The test of one question: joins minutes to blocks and bets on these."""

    def __init__(self, question: Question, index: CellIndex, pos_label: int, attributes: Sequence[str]) -> None:
        pooled = question.test == ACCURACY_LOST
        self.question = question
        self._rates = rates_of("accuracy" if pooled else question.metric, pos_label)
        self._blocks = Blocks(index, _layout(question), self._rates, None if pooled else attributes)
        self._process = PROCESSES[question.test](self._blocks.shape, question.limit)
        self._ended: list[Floats] = []  # blocks that were not bet on yet
        self._count, self._log_e, self._peak = 0, 0.0, 0.0

    def add(self, minute: int, counts: Numbered) -> None:
        """Count a minute after all those before."""
        if (moved := self._blocks.meet()) is not None:
            self.settle()
            self._process.regroup(moved, len(self._blocks.groups))
        if (block := self._blocks.add(minute, counts)) is not None:
            self._ended.append(block)

    def settle(self) -> None:
        """Bet on the blocks that have ended."""
        if not self._ended:
            return
        path = self._process.add(np.stack(self._ended))
        self._count += len(self._ended)
        self._log_e, self._peak = float(path[-1]), max(self._peak, float(path.max()))
        self._ended = []

    def evidence(self, alpha: float, threshold: float) -> Evidence:
        """What the settled blocks say."""
        e_value, peak = (min(math.exp(min(value, 700)), LARGEST) for value in (self._log_e, self._peak))
        n, blocks = int(self._process.sums.sum()), self._blocks
        return Evidence(
            self.question, alpha, threshold, e_value, peak, self._count, n, blocks.since, blocks.until, self._counts()
        )

    def _counts(self) -> dict[str, dict[str, dict[str, list[int]]]]:
        hits, n = (each(self._process.sums).astype(int).tolist() for each in (hits_of, rows_of))  # (V, R, G)
        versions = [self.question.version, self.question.against][: len(hits)]
        return {
            version_name(version): {
                rate.name: {group: [hits[v][r][g], n[v][r][g]] for g, group in enumerate(self._blocks.groups)}
                for r, rate in enumerate(self._rates)
            }
            for v, version in enumerate(versions)
        }


PROCESSES: Mapping[str, type[EProcess]] = {ABOVE_LIMIT: AboveLimit, WORSE: Worse, ACCURACY_LOST: AccuracyLost}


def _layout(question: Question) -> Layout:
    if question.twins:
        return Paired(question.version)
    return Apart((question.version,) if question.test == ABOVE_LIMIT else (question.version, question.against))
