"""The labels of `model.json` against what a `transformers` config says of the network's outputs.

Names may differ, as people translate them; one and the same name for two different outputs is a mistake that would turn
answers around.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from triggers.model.head import ExpectedValueHead, Head, MultiLabelHead

GENERIC = re.compile(r"label \d+")
"""Names that transformers makes up, behind `_plain`."""


def check_labels(config: Any, labels: Sequence[str], head: Head) -> str | None:
    """What is wrong with `labels` and `head` for a network of this config, in one line; None if nothing is.

    `config` has `id2label` and `problem_type`, as configs of transformers have.
    """
    names = _names(config)
    return _wrong_head(config, names, labels, head) or _wrong_order(names, labels, head)


def _names(config: Any) -> list[str]:
    named = getattr(config, "id2label", None) or {}
    return [str(named[key]) for key in sorted(named, key=int)]


def _wrong_head(config: Any, names: Sequence[str], labels: Sequence[str], head: Head) -> str | None:
    task = getattr(config, "problem_type", None)
    if task == "regression":
        return "The network's problem_type is regression: its output is a quantity, which no head turns into labels."
    if task == "single_label_classification" and isinstance(head, MultiLabelHead):
        return 'Exactly one of the network\'s labels is true (problem_type): write "head": {"kind": "softmax"}.'
    if task == "multi_label_classification" and len(names) > 1 and not isinstance(head, MultiLabelHead):
        plain = [_plain(name) for name in names]
        index = next((plain.index(_plain(label)) for label in labels if _plain(label) in plain), None)
        wanted = {"kind": "multi_label", "outputs": len(names), "index": "N" if index is None else index}
        each = ", ".join(f"{at} {name}" for at, name in enumerate(names))
        written = json.dumps(wanted).replace('"N"', "N")
        return f'The network\'s labels are true or false each (problem_type): write "head": {written} ({each}).'
    return None


def _wrong_order(names: Sequence[str], labels: Sequence[str], head: Head) -> str | None:
    """The first label that has the name of another output than its own."""
    if isinstance(head, ExpectedValueHead):
        return None
    places: Sequence[int | None] = range(len(labels))
    if isinstance(head, MultiLabelHead):
        places = (None, head.index)
    elif len(names) == 1:
        places = (None, 0)
    plain = [_plain(name) for name in names]
    for label, place in zip(labels, places, strict=True):
        name = _plain(label)
        if name not in plain or GENERIC.fullmatch(name) or (place is not None and plain[place : place + 1] == [name]):
            continue
        own = "an output that none has" if place is None else f"output {place}"
        said = ", ".join(f"{at} {each}" for at, each in enumerate(names))
        return (
            f"The label {label!r} stands for {own}, but the network's outputs are {said}: correct `labels` or `head`."
        )
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()
