"""Records of runs that never happened: two groups of 100 test rows, half of each label, with a gap that is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.results.run_record import NOTHING, RunRecord

System = int | tuple[int, int]
"""A gap of the selection rates in points, and how many of 50 negatives of each group are wrong if not 20."""


def flat(system: System, positives: int = 50) -> list[int]:
    """Counts by group, label and answer: women are selected so much more often than men, all among positives."""
    gap, wrong = system if isinstance(system, tuple) else (system, 20)
    return [100 - positives - wrong, wrong, 0, positives, 100 - positives - wrong, wrong, gap, positives - gap]


def record(
    systems: Mapping[str, System],
    advised: str = "overlay",
    *,
    task: str = "attractive",
    kind: str = "overlay",
    seed: int = 0,
    status: str = "certified",
    tuning: int | None = None,
    dropped: tuple[str, ...] = (),
    bare: int = 40,
    positives: int = 50,
    device: str = "cpu",
    named: tuple[str, ...] = (),
) -> RunRecord:
    """A run with these systems under demographic parity; `dropped` ones keep to no budget on validation."""

    def entry(name: str) -> dict[str, Any]:
        counts = flat(systems[name], positives)
        common = {"setting": "strength 1", "word": None, "seconds": 1.0, "val": counts, "test": counts}
        return {"system": name, "kept": name not in dropped, **common}

    without = flat(bare, positives)
    return RunRecord(
        {
            "task": task,
            "criterion": "demographic_parity",
            "seed": seed,
            "kind": kind,
            "tuning": tuning,
            "labels": ["no", "yes"],
            "pos_label": 1,
            "groups": ["women", "men"],
            "select": {
                "max_accuracy_drop": 0.01,
                "measure": "balanced_accuracy",
                "min_recall_ratio": 0.8,
                "delta": 0.1,
            },
            "tuning_rows": tuning or 2000,
            "verdict": {"status": status, "reason": "because"},
            "fingerprint": f"sha256:{task}{seed}",
            "device": device,
            "seconds": {"train": 30.0},
            "bare": {"val": without, "test": without},
            "systems": [entry(name) for name in systems],
            "recommended": None if advised == NOTHING else {**entry(advised), "word": status},
            "named": list(named),
        }
    )
