"""Decisions about made-up people for tests of audits, as rows, CSV files and score files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, str]


def decisions(n: int = 600, seed: int = 0, unlabelled: float = 0.0) -> list[dict[str, str]]:
    """Rows of sex, race, approved, repaid and points; men get more points."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        sex, race = str(draw.choice(["female", "male"])), str(draw.choice(["White", "Black", "Asian"]))
        repaid = bool(draw.integers(2))
        points = draw.normal(0.6 if repaid else 0.4, 0.15) + (0.1 if sex == "male" else 0)
        rows.append(
            {
                "id": f"p{number}",
                "sex": sex,
                "race": race,
                "approved": "yes" if points > 0.5 else "no",
                "repaid": "" if draw.random() < unlabelled else "yes" if repaid else "no",
                "points": f"{points:.4f}",
            }
        )
    return rows


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    """The rows as a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def score_rows(n: int = 300, seed: int = 0) -> list[dict[str, str]]:
    """Rows as `fairtrigger score` writes them, of no trigger and v3."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        group = f"sex={draw.choice(['female', 'male'])},age={draw.choice(['old', 'young'])}"
        toxic = bool(draw.integers(2))
        base = draw.normal(0.6 if toxic else 0.4, 0.15)
        for version, favour in (("none", 0.15), ("v3", 0.05)):
            score = base + (favour if "female" in group else 0)
            rows.append(
                {
                    "row": str(number),
                    "id": f"r{number}",
                    "label": "toxic" if score > 0.5 else "civil",
                    "score_civil": f"{1 - score:.4f}",
                    "score_toxic": f"{score:.4f}",
                    "version": version,
                    "digest": "" if version == "none" else "sha256:" + "ab" * 32,
                    "threshold": "0.5",
                    "group": group,
                    "truth": "toxic" if toxic else "civil",
                }
            )
    return rows


LOANS: dict[str, Any] = {"decision": "approved", "truth": "repaid", "positive": "yes"}
"""What `decisions` are, as `audit` is told."""
