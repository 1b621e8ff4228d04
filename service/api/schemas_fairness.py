"""Pydantic models of the fairness document, for the OpenAPI document; a test checks the responses against them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from triggers.metrics.fairness_report import Coverage, GroupReport
from triggers.metrics.gaps import Gap
from triggers.metrics.paired import Gain, PairedGroup
from triggers.metrics.rates import Estimate


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WindowOut(_Out):
    """Which minutes are counted: [since, until), UTC. `since` is null for all there are."""

    name: str
    since: str | None
    until: str


class CountOut(_Out):
    """How many predictions: `label` null is not known yet."""

    group: str
    label: int | None
    prediction: int
    n: int


class FlipOut(_Out):
    """Inputs whose label the trigger turned from one into another."""

    bare: int
    with_trigger: int
    n: int


class FlipsOut(_Out):
    """Twins of one group."""

    n: int
    flipped: int
    flips: list[FlipOut]


class TwinsOut(_Out):
    """Inputs that ran with the trigger and without."""

    n: int
    flipped: int
    groups: dict[str, FlipsOut]


class PairedOut(_Out):
    """What the trigger gained on the twins; positive is fairer, or more accurate, with it."""

    n: int
    labelled: int
    flipped: int
    overall: PairedGroup
    groups: dict[str, PairedGroup]
    gains: dict[str, Gain]


class AttributeOut(_Out):
    """Groups compared by some of their attributes."""

    groups: dict[str, GroupReport]
    gaps: dict[str, Gap]
    coverage: Coverage


class VersionOut(AttributeOut):
    """Every figure of one version; a figure that is undefined is null, with a reason."""

    n: int
    labelled: int
    pos_label: int
    confidence: float
    overall: GroupReport
    groups_overlap: bool = False
    attributes: dict[str, AttributeOut]
    counts: list[CountOut]
    twins: TwinsOut | None
    paired: PairedOut | None
    warnings: list[dict[str, Any]]


class RivalGapOut(_Out):
    """A gap on the front; `beaten_by` are versions that are at least as accurate and as fair, and better in one."""

    aggregation: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    smallest_n: int
    reason: str | None
    lowest: str | None
    highest: str | None
    expected_at_parity: float | None
    excluded: dict[str, str]
    beaten_by: list[str] | None


class PointOut(_Out):
    """One version among all, on live traffic."""

    version: str
    shadow: bool
    n: int
    labelled: int
    accuracy: Estimate
    demographic_parity_difference: RivalGapOut
    equalized_odds_difference: RivalGapOut


class AlarmOut(_Out):
    """The evidence of one test of the guard; what depends on single predictions is for operators only."""

    test: str
    metric: str
    version: str
    against: str | None
    limit: float
    twins: bool
    alpha: float
    threshold: float
    fired: bool
    done: str | None
    e_value: float = Field(default=1.0, description="now; only with the admin token")
    peak: float = Field(default=1.0, description="largest so far: the test fires when it reaches `threshold`")
    blocks: int = 0
    n: int = 0
    since: int | None = Field(default=None, description="minutes since 1970")
    until: int | None = None
    counts: dict[str, dict[str, dict[str, list[int]]]] = Field(
        default={}, description="[hits, rows] by version, rate and group"
    )


class LossOut(_Out):
    """What may be missing from the counts, and why."""

    since: str
    until: str
    at_most_seconds: float
    dropped: int
    reasons: list[str]
    times: int


class FairnessOut(_Out):
    """Live fairness statistics of one model; see docs/statistics.md for every name."""

    model: str
    window: WindowOut
    as_of: str
    stale: bool
    disclosure: dict[str, Any] | None
    by: str
    labels: list[str]
    pos_label: int
    confidence: float
    versions: dict[str, VersionOut]
    shadows: dict[str, VersionOut]
    front: list[PointOut]
    alarms: list[AlarmOut]
    possible_loss: LossOut | None
    warnings: list[dict[str, Any]]
