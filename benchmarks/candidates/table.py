"""The lab's records as Markdown: per data set and criterion a row for each candidate, means over seeds.

In round brackets the 95 % interval of a mean (Student's t), in square ones the change of the selection's measure in
points of the test part. Where nothing kept to a budget on validation the model stays bare, and its figures count. A
difference to the yardstick is of the same seeds; one whose interval is below 0 is a candidate that beats it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any, TypeAlias

from benchmarks.candidates.lab import BUDGETS, YARDSTICKS
from benchmarks.candidates.recipes import IMAGE_RECIPES, TEXT_RECIPES
from benchmarks.draws import heads, row
from examples.results_table import T_975

Told: TypeAlias = Mapping[str, Any]
ORDER = [*IMAGE_RECIPES, *TEXT_RECIPES]


def load(folder: Path) -> list[Told]:
    """All records in a folder."""
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]


def table(records: Sequence[Told]) -> str:
    """A section for each data set and criterion."""

    def section(one: Told) -> tuple[str, str]:
        return one["data"], one["criterion"]

    found = groupby(sorted(records, key=section), key=section)
    return "\n\n".join("\n".join(_section(*key, list(own))) for key, own in found)


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of a mean, by Student's t; None for a single value."""
    if not 1 < len(values) <= len(T_975) + 1:
        return None
    half = T_975[len(values) - 2] * stdev(values) / sqrt(len(values))
    return mean(values) - half, mean(values) + half


def _section(data: str, criterion: str, records: Sequence[Told]) -> Iterator[str]:
    seeds = sorted({one["seed"] for one in records})
    bare = [next(one for one in records if one["seed"] == seed)["bare"]["test"] for seed in seeds]
    accuracy = mean(one["accuracy"] for one in bare)
    yield f"**{data}, {criterion.replace('_', ' ')}**, {len(seeds)} seeds, {records[0]['device']}; without a trigger"
    yield f"gap {_mean([one['gap'] for one in bare])}, accuracy {_short(accuracy)}.\n"
    yardstick = {one["seed"]: one for one in records if one["candidate"] in YARDSTICKS.values()}
    budgets = [cell for budget in BUDGETS for cell in (f"gap within {100 * budget:g} points", "to the yardstick")]
    yield heads("candidate", "numbers", "passes", "ms", *budgets)
    for name in sorted({one["candidate"] for one in records}, key=_place):
        own = [one for one in records if one["candidate"] == name]
        cells = [cell for budget in BUDGETS for cell in _cells(own, yardstick, budget)]
        time = f"{mean(one['milliseconds'] for one in own):.1f}"
        seen = "" if len(own) == len(seeds) else f", seeds {', '.join(str(one['seed']) for one in own)} only"
        yield row(name + seen, f"{own[0]['numbers']:,}", str(own[0]["passes"]), time, *cells)


def _place(name: str) -> tuple[bool, int]:
    """The yardstick first, then as recipes are listed."""
    return name not in YARDSTICKS.values(), ORDER.index(name)


def _cells(records: Sequence[Told], yardstick: Mapping[int, Told], budget: float) -> tuple[str, str]:
    picks = {one["seed"]: _pick(one, budget) for one in records}
    gaps = {seed: pick["test"]["gap"] for seed, pick in picks.items()}
    change = 0.0 - 100 * mean(pick["test"]["loss"] for pick in picks.values())
    kept = sum(pick["kept"] for pick in picks.values())
    told = f"{_mean(list(gaps.values()))} [{change:+.1f}]" + ("" if kept == len(picks) else f", {kept} of {len(picks)}")
    both = [gap - _pick(yardstick[seed], budget)["test"]["gap"] for seed, gap in gaps.items() if seed in yardstick]
    return told, _mean(both, signed=True) if both and any(both) else ""


def _pick(one: Told, budget: float) -> Told:
    found: Iterable[Told] = one["picks"]
    return next(pick for pick in found if pick["budget"] == budget)


def _mean(values: Sequence[float], *, signed: bool = False) -> str:
    middle, limits = _short(mean(values), signed=signed), interval(values)
    if limits is None:
        return middle
    low, high = (_short(limit, signed=signed) for limit in limits)
    return f"{middle} ({low}, {high})"


def _short(value: float, *, signed: bool = False) -> str:
    return (f"{value:+.3f}" if signed else f"{value:.3f}").replace("0.", ".", 1)
