"""How a frozen model comes from outputs to a label, in words: for cards, reports and refusals. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def decision_words(labels: Sequence[str], pos_label: int, threshold: float | None) -> str:
    """The rule from scores to a label: `toxic where its score is at least .8, else civil`."""
    if threshold is None:
        return "the label of the largest score"
    rest = "the largest of the others" if len(labels) > 2 else labels[1 - pos_label]
    return f"{labels[pos_label]} where its score is at least {f'{threshold:g}'.lstrip('0')}, else {rest}"


def head_words(head: Mapping[str, Any]) -> str:
    """What the scores are, by the fields of a head."""
    match head["kind"]:
        case "softmax":
            return "softmax of the outputs"
        case "sigmoid":
            return "sigmoid of the one output"
        case "multi_label":
            return f"sigmoid of output {head['index']} of {head['outputs']}, counted from 0"
        case "probabilities":
            return "the network's own probabilities"
        case _:
            return f"the expected value against {head['cut']:g}, where the score is .5; no probability"


def scoring_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """What differs between two records of `BundleSpec.fingerprint_fields`: `threshold .5, now .8`; None if nothing."""
    found = [
        f"{name} {_value(ours.get(name))}, now {_value(theirs.get(name))}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]
    return "; ".join(found) or None


def _value(value: object) -> str:
    return "unset" if value is None else json.dumps(value, sort_keys=True)
