"""What the statistics' simulations draw, always the same, and the lines of their tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SEED = 20_240_901
ALPHA, LOOKS, ROWS = 0.05, 400, 15
"""Probability of a false alarm, looks at the evidence, and requests per group (and version) between two looks."""


def random(part: int) -> np.random.Generator:
    """Repeatable draws, other ones per part."""
    return np.random.default_rng([SEED, part])


def drawn(rates: Sequence[float], n: Sequence[int], repeats: int) -> tuple[Ints, Ints]:
    """Hits and sizes (repeats, G)."""
    hits = random(len(rates)).binomial(n, rates, size=(repeats, len(n)))
    return hits, np.broadcast_to(n, hits.shape)


def streams(rates: Sequence[float], repeats: int, drift: float = 0.0) -> tuple[Ints, Ints]:
    """Hits and sizes (repeats, LOOKS, G), all rates drifting up and down together."""
    shift = drift * np.sin(np.arange(LOOKS) / 20)[:, None]
    p = np.broadcast_to(np.clip(np.array(rates) + shift, 0, 1), (repeats, LOOKS, len(rates)))
    return random(0).binomial(ROWS, p), np.full(p.shape, ROWS)


def paired_shares(before: float, down: float, up: float) -> list[float]:
    """Rows hit both times, only before, only after, never."""
    return [before - down, down, up, 1 - before - up]


def spread(rates: Sequence[float]) -> float:
    """Largest minus smallest."""
    return max(rates) - min(rates)


def short(values: Sequence[float]) -> str:
    """`0.3 x 7, 0.5`."""
    runs = [(value, len(list(run))) for value, run in groupby(values)]
    return ", ".join(f"{value:g} x {times}" if times > 1 else f"{value:g}" for value, times in runs)


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def heads(*names: str) -> str:
    """Its first two lines."""
    return f"{row(*names)}\n{row(*['---'] * len(names))}"
