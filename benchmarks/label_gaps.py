"""How far apart the groups' own labels are in every part of the data, which no model has a say in.

python -m benchmarks.label_gaps

A trigger that validation found to make both groups' selection rates alike has learned how far to move them there. Where
the test part's labels are further apart than validation's, the rest of the way is left on test, whatever was trained.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.tasks import TASKS
from trainer.data import DataLoader
from trainer.evaluation.counts import ConfusionCounts
from trainer.progress import open_progress
from triggers.metrics import evaluate_counts
from triggers.metrics.gaps import Gap

PARTS = ("base", "tuning", "val", "test")
SHOWN = ("attractive", "smiling", "toxic")


def label_gap(cells: Mapping[tuple[str, int], int]) -> Gap:
    """Difference of the groups' shares of the positive label, with its interval, from rows by group and label."""
    perfect: ConfusionCounts = {(group, label, label): n for (group, label), n in cells.items()}
    return evaluate_counts(perfect).demographic_parity_difference


def gaps(task: str, seed: int, cache: Path) -> Iterator[tuple[str, int, Gap]]:
    """Part, rows and gap of every part of a task's data as a seed splits it."""
    with open_progress(sys.stderr) as progress:
        config = TASKS[task].config(cache, seed)
        assert config.base
        loader = DataLoader(config, config.base.labels, cache, progress)
    for part in PARTS:
        cells = loader.counts(part)
        yield part, sum(cells.values()), label_gap(cells)


def main(
    task: Annotated[list[str] | None, typer.Option(help=f"default: {', '.join(SHOWN)}")] = None,
    seed: Annotated[int, typer.Option(help="how parts are drawn that the data itself does not divide")] = 0,
) -> None:
    """Print the table."""
    print("| label | part | rows | gap of the labels |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name in task or SHOWN:
            for part, rows, gap in gaps(name, seed, Path(folder)):
                print(f"| {TASKS[name].target} | {part} | {rows:,} | {gap.value:.3f} [{gap.low:.3f}, {gap.high:.3f}] |")


if __name__ == "__main__":
    typer.run(main)
