"""Small tables of texts, and score files read back."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairtrigger.scoring import read_scores
from tests.bundles import WORDS

GROUPS, TRUTHS = ("f", "m", ""), ("toxic", "0", "civil", "nan")


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Rows with a key, a text of one to thirty words, a group (or none) and a label (or none)."""
    draw = random.Random(seed)
    return [
        {
            "key": f"c{at}",
            "text": " ".join(draw.choices(WORDS, k=draw.randint(1, 30))),
            "sex": GROUPS[at % 3],
            "toxic": TRUTHS[at % 4],
        }
        for at in range(count)
    ]


def csv_file(path: Path, made: list[dict[str, str]]) -> Path:
    """The rows as a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(made[0]))
        writer.writeheader()
        writer.writerows(made)
    return path


def scored(out: Path) -> list[dict[str, Any]]:
    """All rows of a score file."""
    _, batches = read_scores(out)
    return [dict(zip(columns, values, strict=True)) for columns in batches for values in _rows(columns)]


def _rows(columns: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return list(zip(*columns.values(), strict=True))
