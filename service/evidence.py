"""What sealed minutes say against a version: tests that stay valid however often, and whenever, one looks.

The null hypothesis of each test is that all is well. Its e-value exceeds tests / alpha with probability alpha / tests
at most (Ville), so that any false alarm has probability alpha at most (Bonferroni). Groups that overlap are compared by
their finest cells, which share no rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from service import bets
from service.bets import Floats
from service.samples import Minutes, Sample, apart, paired, rates_of
from triggers.records import version_name

ABOVE_LIMIT, WORSE, ACCURACY_LOST = "disparity_above_limit", "worse_than_before", "accuracy_lost"
NEW_HITS, OLD_HITS = np.array([1, 0, 1, 0]), np.array([1, 1, 0, 0])
"""Paired outcomes, see Sample, in which the new and the old version hit."""
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
        document = asdict(self)
        question = document.pop("question")
        question["version"] = version_name(self.question.version)
        compares = self.question.test != ABOVE_LIMIT
        question["against"] = version_name(self.question.against) if compares else None
        return {**question, **document, "fired": self.fired}


def weigh(
    questions: Sequence[Question],
    made: Minutes,
    labelled: Minutes,
    *,
    alpha: float,
    pos_label: int,
    attributes: Sequence[str] = (),
) -> list[Evidence]:
    """The evidence on every question; they share alpha. `made` are predictions, `labelled` those by their labels."""
    threshold = len(questions) / alpha if questions else math.inf
    minutes = {True: labelled, False: made}
    return [_weigh(each, minutes[each.labels], alpha, threshold, pos_label, attributes) for each in questions]


def _weigh(
    question: Question, minutes: Minutes, alpha: float, threshold: float, pos_label: int, attributes: Sequence[str]
) -> Evidence:
    sample = _sample(question, minutes, pos_label, attributes)
    path = PATHS[question.test](sample, question.limit) if len(sample.rows) else np.zeros(1)
    last, peak = (min(math.exp(min(float(value), 700)), LARGEST) for value in (path[-1], max(path.max(), 0.0)))
    n = int(sample.rows.sum())
    counts = _counts(question, sample)
    return Evidence(question, alpha, threshold, last, peak, len(sample.rows), n, sample.since, sample.until, counts)


def _sample(question: Question, minutes: Minutes, pos_label: int, attributes: Sequence[str]) -> Sample:
    pooled = question.test == ACCURACY_LOST
    rates, over = rates_of("accuracy" if pooled else question.metric, pos_label), None if pooled else attributes
    if question.twins:
        return paired(minutes, question.version, rates, over)
    versions = [question.version] if question.test == ABOVE_LIMIT else [question.version, question.against]
    return apart(minutes, versions, rates, over)


# ---- log e-values after each block, (B,) ------------------------------------------------------------------------


def above_limit(sample: Sample, limit: float) -> Floats:
    """Against "no rate differs between groups by more than limit"; the mean e-value where there are two rates."""
    hits, n = sample.hits[:, 0], sample.n[:, 0]  # (B, R, G)
    paths = [np.cumsum(bets.spread(hits[:, r], n[:, r], limit)) for r in range(hits.shape[1])]
    return np.asarray(np.logaddexp.reduce(paths) - math.log(len(paths)))


def worse(sample: Sample, limit: float) -> Floats:
    """Against "the new version's largest gap exceeds the old one's by at most limit".

    The old gap is that of some two groups; the bet must win whichever they are, so the least of all counts. It is
    assumed that they stay the same while the test runs. On which groups of the new version to bet, the past says.
    """
    rates, groups = sample.rows.shape[2:4]
    bet = _widest(sample.hits[:, 0], sample.n[:, 0])  # (B, R, G), one group 1 and one -1
    least: Floats | None = None
    for r, high, low in ((r, i, j) for r in range(rates) for i in range(groups) for j in range(groups) if i != j):
        old = np.zeros((rates, groups))
        old[r, high], old[r, low] = 1, -1
        path = np.cumsum(bets.excess(_strata(sample.rows), _strata(_values(sample, bet, old)), limit))
        least = path if least is None else np.minimum(least, path)
    return np.zeros(len(sample.rows)) if least is None else least


def accuracy_lost(sample: Sample, limit: float) -> Floats:
    """Against "the new version's accuracy is lower than the old one's by at most limit"."""
    one = np.ones((1, 1))
    values = _values(sample, -one[None], -one)
    return np.asarray(np.cumsum(bets.excess(_strata(sample.rows), _strata(values), limit)))


PATHS = {ABOVE_LIMIT: above_limit, WORSE: worse, ACCURACY_LOST: accuracy_lost}


def _values(sample: Sample, new: Floats, old: Floats) -> Floats:
    """What each outcome counts, (B, V, R, G, Y): weights (B, R, G) of new hits, minus weights (R, G) of old ones."""
    new, old = np.broadcast_arrays(new, old)
    if sample.rows.shape[-1] == 4:
        return np.asarray(new[..., None] * NEW_HITS - old[..., None] * OLD_HITS)[:, None]
    hits = np.stack([new, -old], axis=1)
    return np.stack([np.zeros_like(hits), hits], axis=-1)


def _strata(values: Any) -> Any:
    """(B, V, R, G, Y) to (B, V R G, Y)."""
    return values.reshape(len(values), -1, values.shape[-1])


def _widest(hits: Any, n: Any) -> Floats:
    """Per block, the two groups that were furthest apart in the blocks before: +1 and -1 among zeros, (B, R, G)."""
    seen = [(bets.past(hits[:, r] * 1.0), bets.past(n[:, r] * 1.0)) for r in range(n.shape[1])]
    rates = np.stack([bets.beliefs(k, m) for k, m in seen], axis=1)
    blocks, chosen = np.arange(len(rates)), np.ptp(rates, axis=-1).argmax(axis=-1)
    found = np.zeros_like(rates)
    there = rates[blocks, chosen]
    found[blocks, chosen, there.argmax(axis=-1)] += 1
    found[blocks, chosen, there.argmin(axis=-1)] -= 1
    return found


def _counts(question: Question, sample: Sample) -> dict[str, dict[str, dict[str, list[int]]]]:
    versions = [question.version, question.against][: sample.hits.shape[1]]
    hits, n = sample.hits.sum(axis=0), sample.n.sum(axis=0)  # (V, R, G)
    return {
        version_name(version): {
            rate: {group: [int(hits[v, r, g]), int(n[v, r, g])] for g, group in enumerate(sample.groups)}
            for r, rate in enumerate(sample.rates)
        }
        for v, version in enumerate(versions)
    }
