"""Sequential tests of versions on sealed minutes, valid however often, and whenever, they are read.

The null hypothesis of each test is that its limit is not exceeded. Its e-value exceeds tests / alpha with probability
alpha / tests at most (Ville), so that any false alarm has probability alpha at most (Bonferroni). Groups that overlap
are compared by their finest cells, which share no rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.guard.blocks import (
    BlockLayout,
    Blocks,
    CellIndex,
    MinuteCounts,
    NumberedCells,
    PairedLayout,
    UnpairedLayout,
    hit_counts,
    rate_definitions,
    row_counts,
)
from service.guard.e_processes import AccuracyLoss, EProcess, GapAboveLimit, GapIncrease
from service.guard.e_values import FloatArray
from triggers.rollout.rollout_history import version_name

ABOVE_LIMIT, WORSE, ACCURACY_LOST = "disparity_above_limit", "worse_than_before", "accuracy_lost"
MAX_E_VALUE = 1e12
"""Cap of reported e-values."""


@dataclass(frozen=True)
class Hypothesis:
    """A claim about `version`: `metric` above `limit`, or worse by more than `limit` than that of `against`.

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
        """Whether the test uses only rows with a label."""
        return self.test == ACCURACY_LOST or self.metric != "demographic_parity_difference"


@dataclass(frozen=True)
class Evidence:
    """Evidence on one hypothesis. `peak` is the largest e-value so far; an alarm is raised when it reaches `threshold`.

    `counts` are [hits, rows] by version, rate and group, over all blocks; minutes count from 1970.
    """

    hypothesis: Hypothesis
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
        """Whether the null hypothesis is rejected at alpha."""
        return self.peak >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; versions by name."""
        compares = self.hypothesis.test != ABOVE_LIMIT
        named = {
            "version": version_name(self.hypothesis.version),
            "against": version_name(self.hypothesis.against) if compares else None,
        }
        answer = {name: value for name, value in vars(self).items() if name != "hypothesis"}
        return vars(self.hypothesis) | named | answer | {"fired": self.fired}


class SequentialTests:
    """Tests of all hypotheses over consecutive minutes; they share alpha. Not thread-safe.

    Time per minute and memory do not grow with the number of minutes.
    """

    def __init__(
        self, hypotheses: Sequence[Hypothesis], *, alpha: float, pos_label: int, attributes: Sequence[str] = ()
    ) -> None:
        self._alpha, self._threshold = alpha, len(hypotheses) / alpha if hypotheses else math.inf
        self._index = {needs_label: CellIndex() for needs_label in (False, True)}
        self._tests = [SequentialTest(each, self._index[each.labels], pos_label, attributes) for each in hypotheses]

    def add(self, made: MinuteCounts, labelled: MinuteCounts) -> None:
        """Add the next minutes: `made` counts by minute of the prediction, `labelled` by that of the first label."""
        for needs_label, minutes in ((False, made), (True, labelled)):
            tests = [each for each in self._tests if each.hypothesis.labels == needs_label]
            for minute in sorted(minutes) if tests else ():
                counts = self._index[needs_label].numbered(minutes[minute])
                for test in tests:
                    test.add(minute, counts)
            for test in tests:
                test.settle()

    def evidence(self) -> list[Evidence]:
        """The evidence on every hypothesis so far."""
        return [each.evidence(self._alpha, self._threshold) for each in self._tests]


class SequentialTest:
    """The test of one hypothesis: joins minutes to blocks and bets on these."""

    def __init__(self, hypothesis: Hypothesis, index: CellIndex, pos_label: int, attributes: Sequence[str]) -> None:
        pooled = hypothesis.test == ACCURACY_LOST
        self.hypothesis = hypothesis
        self._rates = rate_definitions("accuracy" if pooled else hypothesis.metric, pos_label)
        self._blocks = Blocks(index, _layout(hypothesis), self._rates, None if pooled else attributes)
        self._process = PROCESSES[hypothesis.test](self._blocks.shape, hypothesis.limit)
        self._ended: list[FloatArray] = []  # blocks that were not bet on yet
        self._count, self._log_e, self._peak = 0, 0.0, 0.0

    def add(self, minute: int, counts: NumberedCells) -> None:
        """Count the next minute."""
        if (moved := self._blocks.meet_cells()) is not None:
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
        """The evidence of the settled blocks."""
        e_value, peak = (min(math.exp(min(value, 700)), MAX_E_VALUE) for value in (self._log_e, self._peak))
        n, blocks = int(self._process.sums.sum()), self._blocks
        return Evidence(
            self.hypothesis, alpha, threshold, e_value, peak, self._count, n, blocks.since, blocks.until, self._counts()
        )

    def _counts(self) -> dict[str, dict[str, dict[str, list[int]]]]:
        hits, n = (each(self._process.sums).astype(int).tolist() for each in (hit_counts, row_counts))  # (V, R, G)
        versions = [self.hypothesis.version, self.hypothesis.against][: len(hits)]
        return {
            version_name(version): {
                rate.name: {group: [hits[v][r][g], n[v][r][g]] for g, group in enumerate(self._blocks.groups)}
                for r, rate in enumerate(self._rates)
            }
            for v, version in enumerate(versions)
        }


PROCESSES: Mapping[str, type[EProcess]] = {ABOVE_LIMIT: GapAboveLimit, WORSE: GapIncrease, ACCURACY_LOST: AccuracyLoss}


def _layout(hypothesis: Hypothesis) -> BlockLayout:
    if hypothesis.twins:
        return PairedLayout(hypothesis.version)
    return UnpairedLayout(
        (hypothesis.version,) if hypothesis.test == ABOVE_LIMIT else (hypothesis.version, hypothesis.against)
    )
