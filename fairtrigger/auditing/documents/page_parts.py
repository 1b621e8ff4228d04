"""What a page of an audit is made of: sections of sentences, tables and plots of intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PageTable:
    """A table: the first `texts` columns are words, the others figures, but for `prose`, where all are words."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    prose: bool = False
    folded: bool = False


@dataclass(frozen=True)
class IntervalMark:
    """One estimate of a plot, 0 to 1: which version it is of by place, and its limits."""

    series: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class IntervalPlot:
    """Estimates of groups with their intervals on one axis from 0 to 1, a mark for each version."""

    caption: str
    series: Sequence[str]
    rows: Sequence[tuple[str, Sequence[IntervalMark]]]


@dataclass(frozen=True)
class PageSection:
    """A heading, its sentences, a list, and what is drawn under them."""

    anchor: str
    title: str
    sentences: Sequence[str] = ()
    points: Sequence[str] = ()
    parts: Sequence[PageTable | IntervalPlot] = ()
