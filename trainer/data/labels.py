"""Label and group indices of the values found in the data; a value without a name is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trainer.config import DataConfig, RunConfig
from trainer.config.value_config import column_bins, joint_map
from trainer.data.sources.bad_rows import MEND, BadRows
from trainer.data.sources.base import MENTION_GROUPS, Source, SourceRow
from trainer.data.split import limit_rows
from trainer.data.values.group_membership import cell_names, identities_in, normalise_cells
from trainer.data.values.group_names import flag_groups, flag_names
from trainer.data.values.number_bins import bin_names
from trainer.data.values.value_names import ENTRY_REMEDY, ValueNames
from trainer.data.values.value_spelling import is_missing, toml_entries
from triggers.errors import DataError
from triggers.metrics.label_values import label_index

LABELS = "the classifier's labels"


@dataclass(frozen=True)
class LabelledRows:
    """The used rows of a source: their numbers in it, and a label and group index for each; notes on what was found."""

    rows: tuple[int, ...]
    labels: tuple[int, ...]
    groups: tuple[int, ...]
    label_names: tuple[str, ...]
    group_names: tuple[str, ...]
    identities: tuple[str, ...]  # the group names, or where groups overlap what the names are joined from
    notes: tuple[str, ...] = ()

    def take(self, places: Sequence[int]) -> LabelledRows:
        """Some of the rows, by their places in `rows`."""
        rows, labels, groups = (tuple(each[at] for at in places) for each in (self.rows, self.labels, self.groups))
        return replace(self, rows=rows, labels=labels, groups=groups)


@dataclass(frozen=True)
class _Reading:
    """What the values of labels or groups are read as: an index, or why a row with the value cannot be used."""

    names: tuple[str, ...]
    index: Mapping[str, int]
    missing: frozenset[str] = frozenset()
    without_entry: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def index_labels(config: RunConfig, source: Source, label_names: tuple[str, ...]) -> LabelledRows:
    """Index the labels by `label_names` (the classifier's) and the groups. Raises DataError naming the row."""
    data, bad_rows = config.data, BadRows(config.data.on_bad_row)
    rows = source.rows
    usable = [at for at, row in enumerate(rows) if row.usable]
    kept = [usable[at] for at in limit_rows([rows[at].id for at in usable], data.limit, config.split.seed)]
    groups, identities = _read_groups(data, source, [rows[at] for at in kept])
    grouped, dropped = _with_group(data, groups, rows, kept, bad_rows)
    present = identities if data.groups_overlap else [groups.names[at] for at in sorted(set(groups.index.values()))]
    if len(present) < 2:
        raise DataError(f"The only group in the data is {list(present)}; fairness needs two. Check data.group.")
    labels = _read_labels(data, source, Counter(rows[at].label for at in grouped), label_names)
    good = [at for at in grouped if _has_label(labels, rows[at], bad_rows)]
    return LabelledRows(
        rows=tuple(good),
        labels=tuple(labels.index[rows[at].label] for at in good),
        groups=tuple(groups.index[rows[at].group] for at in good),
        label_names=label_names,
        group_names=groups.names,
        identities=identities,
        notes=(*groups.notes, *dropped, *labels.notes, *bad_rows.notes(len(kept))),
    )


def value_indices(
    values: Collection[str], names: Sequence[str], places: Sequence[str], what: str
) -> dict[str, int | None]:
    """The index in `names` that each of the values means, None without one.

    A value is looked up among `names`, then by its place among `places`, as many names whose order is known to be the
    same, then by `label_index`, as late reports are. Raises DataError where two values mean the same name.
    """
    found = {value: _index(value, names, places) for value in sorted(values)}
    owners: dict[int, str] = {}
    for value, index in found.items():
        if index is not None and owners.setdefault(index, value) != value:
            raise DataError(
                f"{owners[index]!r} and {value!r} would both be {names[index]!r} ({what}); name them all, "
                f"or give both one name in data.label_map or data.group_map."
            )
    return found


def _index(value: str, names: Sequence[str], places: Sequence[str]) -> int | None:
    if value not in names and value in places and len(places) == len(names):
        return places.index(value)
    return label_index(value, names)


def _read_groups(data: DataConfig, source: Source, rows: Sequence[SourceRow]) -> tuple[_Reading, tuple[str, ...]]:
    """The groups, and their identities."""
    if data.groups_overlap:
        return _read_cells(data, source, rows)
    table = ValueNames("data.group_map", joint_map(data.group_map))
    counts = Counter(row.group for row in rows)
    found = _named(counts, {*data.group_names, *source.group_names}, table)
    present = {name for name in found.values() if name}
    names = data.group_names or table.names or source.group_names or tuple(sorted(present))
    places, note = ((), ()) if table.names else _places(data, "group", source.group_names, names)
    reading = _reading(found, names, value_indices(present, names, places, "data.group_names"), (*note, *table.notes()))
    return reading, names


def _read_cells(data: DataConfig, source: Source, rows: Sequence[SourceRow]) -> tuple[_Reading, tuple[str, ...]]:
    present = identities_in(row.group for row in rows)
    order = data.group or source.group_names or present
    spelled = normalise_cells([(row.group, row.id) for row in rows], order)
    names = cell_names({cell for cell, _ in spelled}, order)
    cells = {row.group: cell for row, (cell, _) in zip(rows, spelled, strict=True)}
    index = {value: names.index(cell) for value, cell in cells.items() if cell}
    return _Reading(names, index, frozenset(("",))), tuple(name for name in order if name in present)


def _read_labels(data: DataConfig, source: Source, counts: Counter[str], names: tuple[str, ...]) -> _Reading:
    table = ValueNames("data.label_map", joint_map(data.label_map))
    for name in table.names:
        if label_index(name, names) is None:
            raise DataError(f"data.label_map makes {name!r}, which is none of {LABELS} {list(names)}.")
    found = _named(counts, {*names, *source.label_names}, table)
    places, note = ((), ()) if table.names else _places(data, "label", source.label_names, names)
    present = {name for name in found.values() if name}
    index = value_indices(present, names, places, LABELS)
    if present and not any(each is not None for each in index.values()):
        entries = toml_entries(dict.fromkeys(sorted(present), "..."))
        raise DataError(
            f"No label in the data is one of {LABELS} {list(names)}; say which is which: data.label_map = {entries}."
        )
    return _reading(found, names, index, (*note, *table.notes()))


def _named(counts: Counter[str], names: Collection[str], table: ValueNames) -> dict[str, str | None]:
    """The name of each value: "" where it is missing, unless it is one of `names`; None without an entry."""
    missing = {value for value in counts if value not in table and is_missing(value, names)}
    return {value: "" if value in missing else table.name(value, rows) for value, rows in counts.items()}


def _reading(
    found: Mapping[str, str | None], names: tuple[str, ...], index: Mapping[str, int | None], notes: tuple[str, ...]
) -> _Reading:
    places = {value: index[name] for value, name in found.items() if name}
    return _Reading(
        names,
        {value: place for value, place in places.items() if place is not None},
        frozenset(value for value, name in found.items() if name == ""),
        frozenset(value for value, name in found.items() if name is None),
        notes,
    )


def _places(
    data: DataConfig, what: Literal["label", "group"], layout: tuple[str, ...], names: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The data's own names, where their order says which of as many other names they mean, and a note of how.

    That is so for no and yes and for the classes of a number, and for nothing else: no order is in male and female.
    """
    columns, edges = (data.label, data.label_bins) if what == "label" else (data.group, data.group_bins)
    flags = {flag_groups(columns, overlapping=False), MENTION_GROUPS, flag_names(data.label, data.label_rule)}
    if layout in flags:
        return layout, ()
    if len(columns) != 1 or not layout or len(layout) != len(names) or set(layout) & set(names):
        return (), ()
    if layout != bin_names(data.age_bins or column_bins(edges, columns[0])):
        return (), ()
    read = ", ".join(f"{value!r} is {name!r}" for value, name in zip(layout, names, strict=True))
    return layout, (f"data: by their order, {read}; data.{what}_map says otherwise",)


def _with_group(
    data: DataConfig, groups: _Reading, rows: Sequence[SourceRow], found: Sequence[int], bad_rows: BadRows
) -> tuple[list[int], tuple[str, ...]]:
    """Those of the rows `found` that have a group, and a note. Raises DataError where others may not be left out."""
    kept = [at for at in found if rows[at].group in groups.index]
    others = [rows[at] for at in found if rows[at].group not in groups.index] if len(kept) < len(found) else []
    for row in others:
        if row.group in groups.without_entry:
            problem = f"group {row.group!r} has no entry in data.group_map"
            bad_rows.refuse_or_skip(row.id, "group without an entry", problem, ENTRY_REMEDY)
    unknown = [row for row in others if row.group not in groups.without_entry]
    if not unknown:
        return kept, ()
    if data.missing_group == "drop":
        values = ", ".join(
            f"{count} {value!r}" for value, count in Counter(row.group for row in unknown).most_common(3)
        )
        return kept, (f"data: {len(unknown)} of {len(found)} rows have no known group and are left out: {values}",)
    value, alike = unknown[0].group, sum(row.group == unknown[0].group for row in unknown)
    more = f", one of {alike} such rows" if alike > 1 else ""
    if value in groups.missing:
        problem = f"has no group{f' ({value!r})' if value else ''}"
        remedy = f'Mend them, or leave them out: data.missing_group = "drop"{_naming(value)}'
    else:
        problem = f"has the group {value!r}, which is none of data.group_names {list(groups.names)}"
        remedy = 'Name it there or in data.group_map, or leave them out: data.missing_group = "drop"'
    raise DataError(f"{unknown[0].id} {problem}{more}. {remedy}.")


def _has_label(labels: _Reading, row: SourceRow, bad_rows: BadRows) -> bool:
    """Whether a row has a label; if not, it is a bad row."""
    value = row.label
    if value in labels.index:
        return True
    if value in labels.missing:
        problem = f"label {value!r} stands for a missing one" if value else "no label"
        bad_rows.refuse_or_skip(row.id, "missing label", problem, MEND)
    elif value in labels.without_entry:
        problem = f"label {value!r} has no entry in data.label_map"
        bad_rows.refuse_or_skip(row.id, "label without an entry", problem, ENTRY_REMEDY)
    else:
        problem = f"label {value!r} is none of {LABELS} {list(labels.names)}"
        bad_rows.refuse_or_skip(row.id, "unknown label", problem, "Mend it, or name it in data.label_map")
    return False


def _naming(value: str) -> str:
    return f"; if {value!r} is a group, name it in data.group_map" if value else ""
