"""Group names of several attributes, and their reduction to fewer attributes.

A group is written `sex=female,age=old`, attributes in any order, and shown with them sorted. Counts of fewer attributes
are sums over the others, so they are exact. A name that is not of this form, or lacks the attribute, counts as
`unknown` there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from triggers.metrics.overlapping_groups import UNKNOWN

MAX_ATTRIBUTES = 4
"""Most attributes that are combined; more would make more combinations than can be read."""


def attributes_of(group: str) -> dict[str, str]:
    """Values by attribute in a group name; {} for a name that is not of the form, or names an attribute twice."""
    pairs = [part.partition("=") for part in group.split(",")]
    stripped = [(name.strip(), value.strip()) for name, _, value in pairs]
    named = dict(stripped)
    return named if len(named) == len(stripped) and all(name and value for name, value in stripped) else {}


def sorted_name(group: str) -> str:
    """Canonical name of a group of several attributes; any other name is returned unchanged."""
    named = attributes_of(group)
    return _joined(named, sorted(named)) if named else group


def attribute_subsets(groups: Iterable[str]) -> list[tuple[str, ...]]:
    """Every non-empty proper subset of the groups' attributes; [] unless they have 2 to MAX_ATTRIBUTES."""
    names = sorted({name for group in groups for name in attributes_of(group)})
    sizes = range(1, len(names)) if 2 <= len(names) <= MAX_ATTRIBUTES else ()
    return [chosen for size in sizes for chosen in combinations(names, size)]


def group_by_attributes(group: str, over: Sequence[str]) -> str:
    """A group's name by these attributes only: `sex=female`; `unknown` unless it has them all."""
    named = attributes_of(group)
    return _joined(named, over) if all(name in named for name in over) else UNKNOWN


def _joined(named: Mapping[str, str], order: Sequence[str]) -> str:
    return ",".join(f"{name}={named[name]}" for name in order)
