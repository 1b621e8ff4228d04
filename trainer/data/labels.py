"""Label and group indices of the values found in the data; a value without a name is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.config import DataConfig, RunConfig
from trainer.data.group_membership import cell_names, identities_in, normalise_cells
from trainer.data.sources.base import Source
from trainer.data.split import limit_rows
from triggers.errors import DataError
from triggers.metrics.label_values import label_index


@dataclass(frozen=True)
class LabelledRows:
    """The used rows of a source: their numbers in it, and a label and group index for each."""

    rows: tuple[int, ...]
    labels: tuple[int, ...]
    groups: tuple[int, ...]
    label_names: tuple[str, ...]
    group_names: tuple[str, ...]
    identities: tuple[str, ...]  # the group names, or where groups overlap what the names are joined from


def index_labels(config: RunConfig, source: Source, label_names: tuple[str, ...]) -> LabelledRows:
    """Index the labels by `label_names` (the classifier's) and the groups. Raises DataError naming the row."""
    data, all_rows = config.data, source.rows
    usable = [at for at, row in enumerate(all_rows) if row.usable]
    kept = [usable[at] for at in limit_rows([all_rows[at].id for at in usable], data.limit, config.split.seed)]
    found = [(all_rows[at].group, all_rows[at].id) for at in kept]
    group_names, identities, groups = _grouped(data, source, found)
    if len(identities) < 2:
        raise DataError(f"The only group in the data is {list(identities)}; fairness needs two. Check data.group.")
    grouped = [(at, group) for at, group in zip(kept, groups, strict=True) if group is not None]
    named = [(all_rows[at].label, all_rows[at].id) for at, _ in grouped]
    _, labels = indices(named, label_names, source.label_names, "the classifier's labels")
    return LabelledRows(
        rows=tuple(at for at, _ in grouped),
        labels=tuple(label for label in labels if label is not None),
        groups=tuple(group for _, group in grouped),
        label_names=label_names,
        group_names=group_names,
        identities=identities,
    )


def _grouped(
    data: DataConfig, source: Source, found: Sequence[tuple[str, str]]
) -> tuple[tuple[str, ...], tuple[str, ...], list[int | None]]:
    """Group names, identities, and an index or None for each (group, row id) pair."""
    drop = data.missing_group == "drop"
    if not data.groups_overlap:
        names, groups = indices(found, data.group_names, source.group_names, "data.group_names", missing_ok=drop)
        return names, names, groups
    present = identities_in(cell for cell, _ in found)
    order = data.group or source.group_names or present
    spelled = normalise_cells(found, order)
    names, groups = indices(spelled, cell_names({cell for cell, _ in spelled}, order), (), "groups", missing_ok=drop)
    return names, tuple(name for name in order if name in present), groups


def indices(
    found: Sequence[tuple[str, str]],
    names: tuple[str, ...],
    layout: tuple[str, ...],
    what: str,
    *,
    missing_ok: bool = False,
) -> tuple[tuple[str, ...], list[int | None]]:
    """Map (value, row id) pairs to indices. Returns the names in force and an index, or None, per pair.

    A value is looked up among `names` first, then by its place among `layout` (the data's own order of names), then
    by `label_index`, as late reports are. Without `names`, `layout` or else the values found, sorted, are the names.
    None only with `missing_ok`; otherwise a value that has no name raises DataError, as do two values that mean the
    same name.
    """
    names = names or layout or tuple(sorted({value for value, _ in found if value}))
    known = {value: _index(value, names, layout) for value in {value for value, _ in found}}
    _refuse_collisions(known, names, what)
    for value, row in found:
        if known[value] is None and not missing_ok:
            shown = f"has the value {value!r}" if value else "has no value"
            raise DataError(f"{row} {shown}, which is none of {what} {list(names)}. Mend the row, or name the value.")
    return names, [known[value] for value, _ in found]


def _index(value: str, names: tuple[str, ...], layout: tuple[str, ...]) -> int | None:
    if value not in names and value in layout and len(layout) == len(names):
        return layout.index(value)
    return label_index(value, names)


def _refuse_collisions(known: dict[str, int | None], names: tuple[str, ...], what: str) -> None:
    owners: dict[int, str] = {}
    for value, index in sorted(known.items()):
        if index is not None and owners.setdefault(index, value) != value:
            raise DataError(f"{owners[index]!r} and {value!r} would both be {names[index]!r} ({what}); name them all.")
