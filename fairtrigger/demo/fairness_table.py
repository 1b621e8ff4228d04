"""The service's fairness document as a table: one version against another, every figure with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

SHOWN_GAPS = ("demographic_parity_difference", "equalized_odds_difference", "average_odds_difference")


def fairness_table(document: Mapping[str, Any], versions: Sequence[str], title: str) -> Table:
    """Rows: accuracy, the gaps, and n; columns: the versions, `bare` being no trigger."""
    table = Table(title=title, title_justify="left")
    table.add_column("figure (95 % interval)")
    for version in versions:
        table.add_column("bare" if version == "bare" else f"trigger {version}", justify="right")
    parts = [document["versions"][version] for version in versions]
    table.add_row("accuracy", *(shown(part["overall"]["accuracy"]) for part in parts))
    for gap in SHOWN_GAPS:
        table.add_row(gap, *(shown(part["gaps"][gap]) for part in parts))
    for group in sorted({name for part in parts for name in part["groups"]}):
        rates = [part["groups"].get(group, {}).get("selection_rate") for part in parts]
        table.add_row(f"selection_rate, {group}", *(shown(rate) for rate in rates))
    table.add_row("predictions, labelled", *(f"{part['n']}, {part['labelled']}" for part in parts))
    return table


def shown(estimate: Mapping[str, Any] | None) -> str:
    """`0.123 [0.100, 0.150]`, or the reason why there is no figure."""
    if estimate is None:
        return "-"
    if estimate["value"] is None:
        return f"- ({estimate['reason']})"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
