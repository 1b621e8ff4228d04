"""How well certified picks hold, how often something useful is certified, and what other orders of tests would do.

python -m benchmarks.certified --runs runs/certified                    the tables of docs/selection.md (about an hour)

Reads the files of `benchmarks.certified_runs`. The product's own selection chooses on drawn validation rows:

holds     some of a run's rows are validation, all others test; how many picks lose no more than the budget there
power     validation rows are drawn with replacement, 1,000, 1,500 or 5,000; the loss on all rows is then the true one
orders    the same draws under other orders of the tests
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from torch import Tensor

from trainer.config import SelectConfig
from trainer.evaluation.recommendation import Selection, ValidationJudge, select_triggers
from trainer.evaluation.selection import SelectionCriterion
from trainer.evaluation.validation_rows import ValidationRows
from triggers.metrics import wilson
from triggers.metrics.intervals import critical

ROWS = (1000, 1500, 5000)
Criterion = Literal["demographic_parity", "equalized_odds"]


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """A run's file: all its held-out rows, and what its triggers predict for them."""

    task: str
    criterion: Criterion
    seed: int
    rows: ValidationRows
    predictions: Tensor  # (validations, K, N)
    strengths: Sequence[float]

    @classmethod
    def read(cls, path: Path) -> RecordedRun:
        """Read `<task>-<criterion>-<seed>.npz`."""
        task, criterion, seed = path.stem.rsplit("-", 2)
        with np.load(path, allow_pickle=False) as found:
            labels, cells, bare, predictions = (
                torch.from_numpy(found[name].astype(np.int64)) for name in ("labels", "cells", "bare", "predictions")
            )
            groups, names = (tuple(map(str, found[name])) for name in ("cell_names", "label_names"))
            strengths = tuple(map(float, found["strengths"]))
        known = criterion == "demographic_parity" or criterion == "equalized_odds"
        assert known
        rows = ValidationRows(labels, cells, bare, groups, groups, names)
        return cls(task, criterion, int(seed), rows, predictions, strengths)  # type: ignore[arg-type]

    def judge(self, rows: Tensor) -> ValidationJudge:
        """The product's judge with its default settings, on chosen rows."""
        held = self.rows.take(rows)
        criterion = SelectionCriterion(held.counts(held.bare), self.criterion, SelectConfig(), 1, 2)
        return ValidationJudge(criterion, held)

    def select(self, rows: Tensor) -> Selection:
        """What the product chooses on these validation rows."""
        return select_triggers(self.judge(rows), [each[:, rows] for each in self.predictions], self.strengths)

    @cached_property
    def everything(self) -> ValidationJudge:
        """The judge on all rows."""
        return self.judge(torch.arange(len(self.rows)))


@dataclass(frozen=True)
class Outcome:
    """One selection: the word of its pick, and the pick's loss and gap, beside the bare gap, where it is tried."""

    run: RecordedRun
    status: str
    loss: float
    gap: float
    bare_gap: float


def held_out(runs: Sequence[RecordedRun], rows: int | None, repeats: int, seed: int) -> Iterator[Outcome]:
    """Per run and repeat: chosen on so many of its rows (None: half of them), tried on all others."""
    generator = torch.Generator().manual_seed(seed)
    for run in runs:
        for _ in range(repeats):
            order = torch.randperm(len(run.rows), generator=generator)
            val, test = order.tensor_split([rows or (len(order) + 1) // 2])
            yield outcome(run, run.select(val), run.judge(test), test)


def drawn(runs: Sequence[RecordedRun], rows: int, repeats: int, seed: int) -> Iterator[Outcome]:
    """Per run and repeat: chosen on so many rows drawn with replacement, tried on all of them."""
    generator = torch.Generator().manual_seed(seed)
    for run in runs:
        everything = torch.arange(len(run.rows))
        for _ in range(repeats):
            val = torch.randint(len(run.rows), (rows,), generator=generator)
            yield outcome(run, run.select(val), run.everything, everything)


def outcome(run: RecordedRun, selection: Selection, tried: ValidationJudge, rows: Tensor) -> Outcome:
    """The pick of a selection, tried on other rows; without a pick the bare model."""
    bare = tried.criterion.bare.gap or 0.0
    if selection.best is None:
        return Outcome(run, "not recommended", 0.0, bare, bare)
    place = selection.places[selection.best]
    score = tried.score(run.predictions[place, selection.best, rows])
    return Outcome(run, selection.records[selection.best].status, score.loss, score.gap or 0.0, bare)


def in_sequence(
    order: Iterable[tuple[int, int]], p_values: Mapping[tuple[int, int], float], delta: float
) -> set[tuple[int, int]]:
    """Those that are certified before the first failure."""
    found = set()
    for key in order:
        if p_values[key] > delta:
            break
        found.add(key)
    return found


def _rising(p: Mapping[tuple[int, int], float], places: int, k: int, delta: float) -> set[tuple[int, int]]:
    return in_sequence(((places - 1, strength) for strength in range(k)), p, delta)


def _paths(p: Mapping[tuple[int, int], float], places: Sequence[int], k: int, delta: float) -> set[tuple[int, int]]:
    return {key for s in range(k) for key in in_sequence(((place, s) for place in places), p, delta / k)}


ORDERS: Mapping[str, Callable[[Mapping[tuple[int, int], float], int, int, float], set[tuple[int, int]]]] = {
    "last step, strengths rising (the product)": _rising,
    "each strength, its steps backwards": lambda p, n, k, delta: _paths(p, range(n)[::-1], k, delta),
    "each strength, its steps forwards": lambda p, n, k, delta: _paths(p, range(n), k, delta),
    "last step, all strengths at delta / K": lambda p, n, k, delta: {
        (n - 1, s) for s in range(k) if p[n - 1, s] <= delta / k
    },
}
"""Which triggers (validation, strength) are certified, by the order of the tests."""


def compare_orders(runs: Sequence[RecordedRun], rows: int, seed: int) -> dict[str, tuple[int, int]]:
    """Per order: in how many runs something useful is certified, and in how many anything that breaks the budget."""
    generator = torch.Generator().manual_seed(seed)
    counted = {name: [0, 0] for name in ORDERS}
    for run in runs:
        val = torch.randint(len(run.rows), (rows,), generator=generator)
        judge, shape = run.judge(val), run.predictions.shape
        keys = [(place, k) for place in range(shape[0]) for k in range(shape[1])]
        p_values = {key: judge.p_value(run.predictions[key][val]) for key in keys}
        useful: dict[tuple[int, int], bool] = {}
        for name, order in ORDERS.items():
            found = order(p_values, shape[0], shape[1], judge.criterion.select.delta)
            for key in found - useful.keys():
                useful[key] = judge.useful(run.predictions[key][val])
            budget = judge.criterion.select.max_accuracy_drop
            counted[name][0] += any(useful[key] for key in found)
            counted[name][1] += any(run.everything.score(run.predictions[key]).loss > budget for key in found)
    return {name: (power, broken) for name, (power, broken) in counted.items()}


def share(hits: int, n: int) -> str:
    """`.93 (.78 to .98), 27 of 29`."""
    if not n:
        return "none"
    low, high = (float(limit) for limit in wilson(hits, n, critical(0.95)))
    return f"{hits / n:.2f} ({low:.2f} to {high:.2f}), {hits} of {n}"


def kept_table(title: str, outcomes: Sequence[Outcome], budget: float) -> list[str]:
    """Rows of a table: per task, how many picks of each word there are and how many keep the budget."""
    lines = [
        title,
        "",
        "| task | certified keep the budget | promising keep it | nothing recommended |",
        "| --- | --- | --- | --- |",
    ]
    for task in (*dict.fromkeys(one.run.task for one in outcomes), "all"):
        own = [one for one in outcomes if task in (one.run.task, "all")]
        cells = []
        for status in ("certified", "promising"):
            picked = [one for one in own if one.status == status]
            cells.append(share(sum(one.loss <= budget for one in picked), len(picked)))
        lines.append(
            f"| {task} | {' | '.join(cells)} | {sum(one.status == 'not recommended' for one in own)} of {len(own)} |"
        )
    return [*lines, ""]


def held_out_tables(runs: Sequence[RecordedRun], repeats: int, seed: int) -> Iterator[list[str]]:
    """How many picks keep the budget on a test part: beside 1,000 and 1,500 validation rows, and half against half."""
    for rows, times in ((1000, repeats), (1500, repeats), (None, 1)):
        title = "Validation: half of the rows; test: the other half"
        title = f"Validation: {rows:,} rows; test: all others" if rows else title
        yield kept_table(title, list(held_out(runs, rows, times, seed + (rows or 0))), SelectConfig().max_accuracy_drop)


def power_table(runs: Sequence[RecordedRun], repeats: int, seed: int) -> list[str]:
    """How often something useful is certified, and what is left of the gap, by rows of validation."""
    lines = [
        "Something useful certified",
        "",
        "| task | criterion | " + " | ".join(f"{n:,} rows" for n in ROWS) + " |",
        "| --- | --- |" + " --- |" * len(ROWS),
    ]
    found = {n: list(drawn(runs, n, repeats, seed)) for n in ROWS}
    for n, outcomes in found.items():
        lines = [
            *kept_table(
                f"Validation of {n:,} rows drawn with replacement, tried on all rows",
                outcomes,
                SelectConfig().max_accuracy_drop,
            ),
            *lines,
        ]
    for task, criterion in dict.fromkeys((run.task, run.criterion) for run in runs):
        cells = []
        for n in ROWS:
            own = [one for one in found[n] if (one.run.task, one.run.criterion) == (task, criterion)]
            certified = [one for one in own if one.status == "certified"]
            gaps = np.array([(one.bare_gap, one.gap) for one in certified] or [(0.0, 0.0)]).mean(axis=0)
            left = f", gap {gaps[0]:.3f} to {gaps[1]:.3f}" if certified else ""
            cells.append(f"{len(certified)} of {len(own)}{left}")
        lines.append(f"| {task} | {criterion.replace('_', ' ')} | {' | '.join(cells)} |")
    return [*lines, ""]


def orders_table(runs: Sequence[RecordedRun], seed: int) -> list[str]:
    """How often other orders of the tests certify something useful, or something beyond the budget."""
    found = {n: compare_orders(runs, n, seed) for n in ROWS}
    lines = ["Orders of the tests: useful ones certified, and (any beyond the budget certified)", ""]
    lines += ["| order | " + " | ".join(f"{n:,} rows" for n in ROWS) + " |", "| --- |" + " --- |" * len(ROWS)]
    for name in ORDERS:
        cells = [f"{found[n][name][0] / len(runs):.2f} ({found[n][name][1] / len(runs):.2f})" for n in ROWS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def main(
    runs: Annotated[Path, typer.Option(help="Folder of the runs' files.")],
    repeats: Annotated[int, typer.Option(help="Draws per run and number of rows.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
) -> None:
    """Print the tables."""
    found = [RecordedRun.read(path) for path in sorted(runs.glob("*.npz"))]
    print(f"{len(found)} runs\n")
    for lines in (
        *held_out_tables(found, repeats, seed),
        orders_table(found, seed),
        power_table(found, repeats, seed),
    ):
        print("\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
