"""Labels of decisions: their names in order, the one whose rate is watched, and what a value of the data means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fairtrigger.auditing.audited_counts import value_text
from triggers.errors import DataError
from triggers.metrics.label_values import FLAGS

MOST_LABELS = 100
ABOVE, BELOW = "above the cut", "not above the cut"
"""Labels of scores that are cut, unless others are stated."""


@dataclass(frozen=True)
class LabelChoice:
    """Label names in order and the selected one, as far as the user states them."""

    labels: Sequence[str] = ()
    positive: str | None = None
    confidence: float = 0.95
    overlapping: bool = False


def labels_of_cut(chosen: LabelChoice) -> LabelChoice:
    """Two labels for scores that are cut: the stated ones, of which the positive is above. Raises DataError."""
    labels = tuple(chosen.labels) or (BELOW, ABOVE)
    if len(labels) != 2:
        raise DataError(f"Scores are cut into two labels, and --labels states {len(labels)}: name two.")
    return replace(chosen, labels=labels, positive=chosen.positive or labels[1])


def find_labels(chosen: LabelChoice, noted: Sequence[str], decided: set[str], true: set[str]) -> tuple[str, ...]:
    """The labels in order: stated, `noted` by a score file, or all that decisions and truths say. Raises DataError."""
    if chosen.labels:
        return tuple(value_text(each) for each in chosen.labels)
    if noted:
        return tuple(map(str, noted))
    if {each.casefold() for each in decided | true} <= FLAGS.keys() - {"-1"}:
        return ("0", "1")
    if true - decided and decided - true:
        said = f"Decisions say {_few(decided)} and true labels {_few(true)}"
        raise DataError(f"{said}: say which mean the same, with --labels in order, as --labels denied,approved.")
    labels = tuple(sorted(decided | true))
    if len(labels) > MOST_LABELS:
        raise DataError(
            f"There are {len(labels)} different decisions, as {_few(set(labels))}: is that the right column?"
        )
    if len(labels) < 2:
        raise DataError(f"Every decision is {labels[0]!r}: name all labels, with --labels.")
    return labels


def _few(values: set[str]) -> str:
    return ", ".join(sorted(values)[:5]) + (", ..." if len(values) > 5 else "")


def positive_label(labels: Sequence[str], stated: str | None) -> str:
    """The label whose rate is watched. Raises DataError unless somebody named it, or labels are 0 and 1."""
    if stated is None and tuple(labels) == ("0", "1"):
        return "1"
    if stated is None:
        raise DataError(f"Which decision is the one whose rate counts? Say --positive, one of {', '.join(labels)}.")
    if stated not in labels:
        raise DataError(f"--positive {stated} is none of the labels {', '.join(labels)}.")
    return stated


class LabelIndex:
    """From a label's text to its index; of names that are not numbers, a place or a flag will do as well."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels, self._known = labels, {name: place for place, name in enumerate(labels)}
        numbers = any(name.lstrip("+-").isdigit() for name in labels)
        if len(labels) == 2 and (not numbers or set(labels) == {"0", "1"}):
            self._known = {flag: int(value) for flag, value in FLAGS.items()} | self._known

    def __call__(self, text: str) -> int:
        found = self._known.get(text, self._known.get(text.casefold()))
        if found is None:
            raise DataError(f"{text!r} is none of the labels {', '.join(self._labels)}: name all, with --labels.")
        return found
