"""The table says what the document says, and why a figure is missing."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from fairtrigger.demo.fairness_table import fairness_table
from triggers.metrics.fairness_report import evaluate_counts

BARE: dict[tuple[str, int | None, int], int] = {
    ("a", 1, 1): 40,
    ("a", 0, 1): 10,
    ("a", 0, 0): 50,
    ("b", 1, 1): 10,
    ("b", 1, 0): 30,
    ("b", 0, 0): 60,
}
UNLABELLED: dict[tuple[str, int | None, int], int] = {("a", None, 1): 5, ("a", None, 0): 5}


def printed(**versions: Any) -> str:
    document = {"versions": {name: evaluate_counts(counts).to_dict() for name, counts in versions.items()}}
    out = io.StringIO()
    Console(file=out, width=80).print(fairness_table(document, tuple(versions), "digits"))
    return out.getvalue()


def row(table: str, name: str) -> str:
    return next(line for line in table.splitlines() if name in line)


def test_figures_and_intervals_are_those_of_the_document() -> None:
    table = printed(bare=BARE, v2=BARE)
    gap = evaluate_counts(BARE).demographic_parity_difference
    assert gap.low is not None and gap.high is not None
    assert row(table, "demographic_parity_difference").count(f"0.400 [{gap.low:.3f}, {gap.high:.3f}]") == 2
    assert "0.800 [" in row(table, "accuracy")
    assert "0.500 [" in row(table, "selection_rate, a") and "0.100 [" in row(table, "selection_rate, b")
    assert "200, 200" in row(table, "predictions")
    assert "trigger v2" in table
    assert max(map(len, table.splitlines())) <= 80


def test_a_missing_figure_gives_its_reason() -> None:
    table = printed(bare=UNLABELLED)
    assert "no_labels" in row(table, "accuracy")
    assert "insufficient_groups" in row(table, "demographic_parity_difference")
