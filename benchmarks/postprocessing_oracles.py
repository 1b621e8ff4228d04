"""The package `oxonfair` 0.3 on one small case, whose answers our own search is held against.

    python -m benchmarks.postprocessing_oracles tests/trainer/baselines/postprocessing/oxonfair_case.json

writes the inputs and the package's figures as facts, which tests read. It runs in an environment that has this project
and, which no lock file of ours has, `pip install oxonfair==0.3`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.baselines.postprocessing.oxonfair import fit_group_head
from triggers.metrics.intervals import Floats

ROWS = 400
FEATURES = 6
GAPS = {"demographic_parity": (0.3, 0.2, 0.1, 0.05), "equalized_odds": (0.05, 0.02, 0.01)}
"""Gaps at which the package looks for the best accuracy, below those of the best answers of all."""

Ints = NDArray[np.int64]


def small_case(seed: int = 0) -> tuple[Floats, Floats, Ints, Ints]:
    """Features (N, F) and scores (N,), hardly ever tied, labels (N,) and groups (N,): biased by a group that shows."""
    random = np.random.default_rng(seed)
    groups = (random.random(ROWS) < 0.45).astype(np.int64)
    labels = (random.random(ROWS) < np.where(groups == 1, 0.35, 0.6)).astype(np.int64)
    features = random.normal(size=(ROWS, FEATURES))
    features[:, 0] += 1.6 * groups
    features[:, 1] += 1.4 * labels
    scores = 1.5 * features[:, 1] - 1.0 * features[:, 0] - 0.2
    return features.round(2), scores.round(2) + 0.0017, labels, groups


def oxonfair_front(scores: Floats, head: Floats, labels: Ints, groups: Ints, criterion: str) -> list[dict[str, Any]]:
    """What the package finds for each gap, given scores (N,) and what the group head says (N,): the merged heads'
    coefficient and bias, predictions (N,), accuracy and gap.
    """
    from oxonfair import DeepFairPredictor
    from oxonfair import group_metrics as metrics

    constraint = metrics.demographic_parity if criterion == "demographic_parity" else metrics.equalized_odds
    found = []
    for gap in GAPS[criterion]:
        fair = DeepFairPredictor(labels, np.column_stack([scores, head]), groups)
        fair.fit(metrics.accuracy, constraint, gap)
        coefficient, bias = fair.extract_coefficients()
        predicted = np.asarray(fair.predict({"data": np.column_stack([scores, head])})).astype(int)
        measured = fair.evaluate_fairness(metrics={"gap": constraint}, verbose=False)
        found.append(
            {
                "gap": gap,
                "coefficient": float(coefficient),
                "bias": float(bias),
                "predictions": "".join(map(str, predicted)),
                "accuracy": float((predicted == labels).mean()),
                "reached": float(measured.loc["gap", "updated"]),
            }
        )
    return found


def main(path: Path) -> None:
    """Write the case and the package's figures."""
    features, scores, labels, groups = small_case()
    head = fit_group_head(torch.from_numpy(features), torch.from_numpy(groups).double())
    said = (torch.from_numpy(features) @ head.weight + head.bias).numpy().round(3)
    facts = {
        "features": features.tolist(),
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        "groups": groups.tolist(),
        "head": said.tolist(),
        "oxonfair": {criterion: oxonfair_front(scores, said, labels, groups, criterion) for criterion in GAPS},
    }
    path.write_text(json.dumps(facts) + "\n")
    for criterion in GAPS:
        for row in facts["oxonfair"][criterion]:
            print(criterion, {name: value for name, value in row.items() if name != "predictions"})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
