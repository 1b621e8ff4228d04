"""The useful range of strengths, between no effect and collapse, from short trainings at a few widely spaced ones.

Weak strengths all do what training for utility alone does. From some strength on the gap falls, until it falls no
further: beyond it accuracy is paid for nothing, and far beyond the model has one answer for everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import log10

TRIED = (0.1, 0.63, 4.0, 25.0, 160.0, 1000.0)
"""The strengths that a search tries; a found front has as many."""

COLLAPSE = 0.25
"""Share of the advantage over chance, in balanced accuracy, whose loss is a collapse."""

FALL = 0.1
"""Share of the gap's whole fall that counts as its beginning, and that may be missing at its end."""


@dataclass(frozen=True)
class StrengthTrial:
    """A short training at one strength: what its trigger does on the rows it is judged on.

    `gap` None: some group has no rows to measure it on.
    """

    strength: float
    balanced_accuracy: float
    gap: float | None


@dataclass(frozen=True)
class StrengthRange:
    """The useful range, the strongest trial below it without effect, the weakest one that collapsed."""

    low: float
    high: float
    without_effect: float | None
    collapsed: float | None

    def strengths(self, count: int) -> tuple[float, ...]:
        """So many strengths from low to high, each the same multiple of the one before, to two digits."""
        step = (log10(self.high) - log10(self.low)) / (count - 1)
        return tuple(float(f"{10 ** (log10(self.low) + step * at):.2g}") for at in range(count))


@dataclass(frozen=True)
class StrengthSearch:
    """A finished search: its trials, the range, the strengths found, its share of the run's steps and seconds."""

    trials: tuple[StrengthTrial, ...]
    found: StrengthRange
    strengths: tuple[float, ...]
    steps: int
    seconds: float

    @property
    def note(self) -> str:
        """What was found, in a sentence."""
        tried, found = self.trials, self.found
        seen = [] if found.without_effect is None else [f"up to {found.without_effect:g} no effect on the gap"]
        seen += [] if found.collapsed is None else [f"from {found.collapsed:g} accuracy collapses"]
        what = f"tried {tried[0].strength:g} to {tried[-1].strength:g} for {self.steps} steps on the tuning part"
        listed = ", ".join(f"{strength:g}" for strength in self.strengths)
        return f"Strengths found: {listed} ({'; '.join([what, *seen])})."


def useful_range(trials: Sequence[StrengthTrial], *, bare: float, rows: int, labels: int) -> StrengthRange:
    """The useful range by trials of rising strength, judged on the same `rows` of `labels` classes; `bare` is the
    balanced accuracy there without a trigger.

    It reaches one trial beyond what is seen: a longer training stands stronger strengths than a short one.
    """
    strengths, chance = [trial.strength for trial in trials], 1 / labels
    best = max(trial.balanced_accuracy for trial in trials)
    if best - chance < FALL * (bare - chance):  # all too strong, or all too short: as much to either side
        return StrengthRange(strengths[0] * FALL, strengths[-1] * FALL, None, strengths[0])
    floor = chance + (1 - COLLAPSE) * (best - chance)
    usable = list(takewhile(lambda trial: trial.balanced_accuracy >= floor, trials)) or [trials[0]]
    collapsed = strengths[len(usable)] if len(usable) < len(trials) else None
    gaps = [trial.gap for trial in usable if trial.gap is not None]
    fall = gaps[0] - min(gaps) if gaps else 0.0
    if fall <= 0.5 / rows**0.5:  # within noise: neither a beginning nor an end is seen
        return StrengthRange(strengths[0], collapsed or strengths[-1], None, collapsed)
    still = sum(1 for _ in takewhile(lambda gap: gap > gaps[0] - FALL * fall, gaps))
    lowest = next(at for at, gap in enumerate(gaps) if gap <= min(gaps) + FALL * fall)
    low = (strengths[still - 1] * strengths[still]) ** 0.5
    return StrengthRange(low, strengths[min(lowest + 1, len(trials) - 1)], strengths[still - 1], collapsed)
