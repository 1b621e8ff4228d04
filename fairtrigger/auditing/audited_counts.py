"""Counts of an audit: the one model of what was decided, for files, data frames and services alike.

A cell is (group, true label or None, decision) with the number of rows in it; a group is one value for each attribute,
None where it is not known. Every figure of an audit follows from these cells and the terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from triggers.errors import DataError
from triggers.metrics import Counts
from triggers.metrics.attributes import MAX_ATTRIBUTES, attributes_of
from triggers.metrics.overlapping_groups import UNDECLARED, UNKNOWN

GROUP = "group"
"""The attribute of groups whose names do not say one."""
WITHOUT_TRIGGER = "none"
"""The version of the model without a trigger, in files and everywhere in an audit."""
SMALL_CELL = 30
"""Fewest rows of a rate that this project says anything about."""
UNKNOWN_SPELLINGS = frozenset(
    ("", "nan", "-nan", "na", "n/a", "#n/a", "null", "<na>", "nat", UNKNOWN, UNDECLARED),
)  # fmt: skip
"""Values, in lower case, that say of a person's group that it is not known."""

JsonDict = dict[str, Any]
Group = tuple[str | None, ...]
GroupCells = Mapping[tuple[Group, int | None, int], int]
PairCells = Mapping[tuple[Group, int | None, int, int], int]


@dataclass(frozen=True)
class AuditTerms:
    """What the cells mean: label names, index of the one whose rate is watched, attributes in order, confidence."""

    labels: tuple[str, ...]
    positive: int
    attributes: tuple[str, ...]
    confidence: float = 0.95
    overlapping: bool = False

    def evaluation(self) -> dict[str, Any]:
        """The parameters of `triggers.metrics.evaluate_counts`."""
        return {
            "labels": len(self.labels),
            "pos_label": self.positive,
            "confidence": self.confidence,
            "overlapping": self.overlapping,
        }

    def subsets(self) -> list[tuple[str, ...]]:
        """The attributes alone, then their smaller combinations, then all of them."""
        sizes = range(1, len(self.attributes) + 1)
        return [chosen for size in sizes for chosen in combinations(self.attributes, size)]


@dataclass(frozen=True)
class ScoreCells:
    """Rows above the median score of a version: (group, above) -> how many."""

    column: str
    median: float
    cells: Mapping[tuple[Group, bool], int]


@dataclass(frozen=True)
class VersionCells:
    """What one version decided, the digest of its trigger, and its threshold if it has one."""

    cells: GroupCells
    digest: str | None = None
    threshold: float | None = None
    scores: ScoreCells | None = None


@dataclass(frozen=True)
class AuditInput:
    """Everything that an audit is made of; `pairs` are rows that two versions decided: (before, after) -> cells."""

    terms: AuditTerms
    versions: Mapping[str, VersionCells]
    source: Mapping[str, Any]
    model: Mapping[str, str | None]
    pairs: Mapping[tuple[str, str], PairCells] = field(default_factory=dict)


def version_order(name: str) -> tuple[bool, int, str]:
    """Sorts versions: without a trigger first, then by number."""
    digits = name.removeprefix("v")
    return name != WITHOUT_TRIGGER, int(digits) if digits.isdigit() else 0, name


def known_value(value: object) -> str | None:
    """A group's value as text; None if it says that it is not known."""
    text = "" if value is None else value_text(value)
    return None if text.casefold() in UNKNOWN_SPELLINGS else text


def value_text(value: object) -> str:
    """A value as text, as `trainer.data` reads files: `1.0` is `1`, true and false are 1 and 0."""
    if type(value).__name__ in ("bool", "bool_"):
        return str(int(bool(value)))
    text = str(value).strip()
    whole, point, rest = text.partition(".")
    return whole if point and not rest.strip("0") and whole.lstrip("+-").isdigit() else text


def split_groups(names: Iterable[str], *, overlapping: bool = False) -> tuple[tuple[str, ...], dict[str, Group]]:
    """Attributes of group names like `sex=f,age=old`, and the values of each name; other names are one attribute's.

    Raises DataError for more attributes than are combined.
    """
    listed = list(dict.fromkeys(names))
    found = {} if overlapping else {name: attributes_of(name) for name in listed}
    attributes = tuple(sorted({attribute for values in found.values() for attribute in values}))
    if not attributes:
        return (GROUP,), {name: (known_value(name),) for name in listed}
    check_attributes(attributes)
    return attributes, {
        name: tuple(known_value(values.get(each)) for each in attributes) for name, values in found.items()
    }


def check_attributes(attributes: Sequence[str]) -> None:
    """Raise DataError for more attributes than are combined."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise DataError(
            f"The groups have {len(attributes)} attributes ({', '.join(attributes)}), and at most {MAX_ATTRIBUTES} are "
            "combined: choose some, with --group."
        )


def group_name(attributes: Sequence[str], values: Sequence[str | None]) -> str:
    """A group's name: its value, of several attributes `race=White,sex=male`; `unknown` unless it has them all."""
    known = [value for value in values if value is not None]
    if len(known) < len(attributes):
        return UNKNOWN
    return known[0] if len(attributes) == 1 else ",".join(f"{a}={v}" for a, v in zip(attributes, known, strict=True))


def shown_group(attributes: Sequence[str], name: str) -> str:
    """A group's name for readers: `race=White,sex=male` is `White, male`."""
    if len(attributes) < 2:
        return name
    for attribute in attributes:
        name = name.removeprefix(f"{attribute}=").replace(f",{attribute}=", ", ")
    return name


def named_counts(cells: GroupCells, terms: AuditTerms, over: Sequence[str] | None = None) -> Counts:
    """Cells with groups named by some attributes (default all), as triggers.metrics needs them.

    Raises DataError where two different groups would have one name.
    """
    chosen = terms.attributes if over is None else tuple(over)
    places = [terms.attributes.index(each) for each in chosen]
    owners: dict[str, Group] = {}
    counts = Counter[tuple[str, int | None, int]]()
    for (group, label, prediction), n in cells.items():
        values = tuple(group[place] for place in places)
        name = group_name(chosen, values)
        if name != UNKNOWN and owners.setdefault(name, values) != values:
            raise DataError(f"Two groups would both be called {name!r}: rename a value that holds ',' and '='.")
        counts[name, label, prediction] += n
    return counts


def named_pairs(cells: PairCells, terms: AuditTerms) -> Mapping[tuple[str, int | None, int, int], int]:
    """Joint cells with groups named by all attributes, as `triggers.metrics.evaluate_pairs` needs them."""
    counts = Counter[tuple[str, int | None, int, int]]()
    for (group, label, before, after), n in cells.items():
        counts[group_name(terms.attributes, group), label, before, after] += n
    return counts
