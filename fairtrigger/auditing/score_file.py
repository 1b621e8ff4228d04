"""Counts of an audit from rows: `fairtrigger score`'s columns, or those that the user names. One pass.

What is ambiguous is refused in one line: labels beyond those stated, a selected label that nobody named, one row twice
for a version.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from fairtrigger.auditing.audited_counts import (
    GROUP,
    AuditInput,
    AuditTerms,
    Group,
    PairCells,
    ScoreCells,
    VersionCells,
    check_attributes,
    known_value,
    split_groups,
    value_text,
    version_order,
)
from fairtrigger.auditing.decision_labels import (
    ABOVE,
    LabelChoice,
    LabelIndex,
    find_labels,
    labels_of_cut,
    positive_label,
)
from fairtrigger.auditing.decision_rows import DecisionTable
from triggers.errors import DataError

ONE_VERSION = "given"
"""The version's name where rows name none."""
DECISION, TRUTH, VERSION = "label", "truth", "version"
"""Columns of a score file."""
_GROUP_COLUMN = re.compile(rf"{GROUP}(?:_(.+))?")


@dataclass(frozen=True)
class ColumnChoice:
    """Columns as the user names them; None is the score file's own, `groups` maps attributes to columns.

    `threshold` makes decisions of scores: at least so high is the positive label. `median_cut` cuts every version's
    scores at its median instead, or, beside decisions, counts both.
    """

    decision: str | None = None
    truth: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    score: str | None = None
    version: str | None = None
    threshold: float | None = None
    median_cut: bool = False


@dataclass
class _Rows:
    """What one pass keeps of a version: how often each (group names, truth, decision) is there, and its scores."""

    cells: Counter[tuple[tuple[str, ...], str, str]] = field(default_factory=Counter)
    scores: list[tuple[tuple[str, ...], str, float]] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)
    thresholds: set[str] = field(default_factory=set)
    by_row: dict[str, tuple[tuple[str, ...], str, str]] = field(default_factory=dict)


def read_score_file(table: DecisionTable, columns: ColumnChoice, chosen: LabelChoice) -> AuditInput:
    """Count the rows of a table. Raises DataError for what is missing or ambiguous."""
    named = _columns(table, columns)
    versions = _read(table, named, columns)
    if not versions:
        raise DataError("There is no row in it, so there is nothing to audit.")
    if named.decision is None:
        chosen = labels_of_cut(chosen)
        _cut_scores(versions, columns, chosen)
    versions = dict(sorted(versions.items(), key=lambda item: version_order(item[0])))
    decided = {decision for rows in versions.values() for _, _, decision in rows.cells}
    true = {truth for rows in versions.values() for _, truth, _ in rows.cells} - {""}
    labels = find_labels(chosen, _noted_labels(table), decided, true)
    attributes, groups = _groups(named, versions, chosen.overlapping)
    index = LabelIndex(labels)
    rule = table.notes.get("decision")
    noted = rule.get("positive") if isinstance(rule, Mapping) else None
    positive = positive_label(labels, chosen.positive or noted)
    terms = AuditTerms(labels, labels.index(positive), attributes, chosen.confidence, chosen.overlapping)
    keep_scores = columns.median_cut and named.score is not None
    counted = {
        name: _version(rows, groups, index, named.score if keep_scores else None) for name, rows in versions.items()
    }
    source = {**table.source, "rows": sum(rows.cells.total() for rows in versions.values())}
    source["columns"] = {key: value for key, value in vars(named).items() if value and key != "digest"}
    return AuditInput(terms, counted, source, _model(table.notes), _pairs(versions, groups, index))


@dataclass(frozen=True)
class _Named:
    """The columns that are read."""

    decision: str | None
    truth: str | None
    groups: Mapping[str, str]
    score: str | None
    version: str | None
    row: str | None
    digest: str | None
    threshold: str | None

    def listed(self) -> list[str]:
        found = [self.decision, self.truth, self.score, self.version, self.row, self.digest, self.threshold]
        return list(dict.fromkeys([*(each for each in found if each), *self.groups.values()]))


def _columns(table: DecisionTable, chosen: ColumnChoice) -> _Named:
    """Find every column. Raises DataError with a guess for one that is missing."""
    ours = chosen.decision is None and DECISION in table.names and VERSION in table.names
    score = table.column(chosen.score, "score") if chosen.score else None
    decision = None
    if chosen.decision or score is None or ours:
        decision = table.column(chosen.decision or DECISION, "decision (--decision)")
    if decision is None and chosen.threshold is None and not chosen.median_cut:
        raise DataError(f"Scores in {score!r} are no decisions: give --threshold, or --decision COLUMN.")
    if decision is not None and chosen.threshold is not None:
        raise DataError("--threshold makes decisions of --score, and there are decisions: give one of them.")
    groups = {name: table.column(column, "group (--group)") for name, column in chosen.groups.items()}
    if not groups:
        found = {match[1] or GROUP: name for name in table.names if (match := _GROUP_COLUMN.fullmatch(name))}
        groups = dict(sorted(found.items()))
    if not groups:
        raise DataError(f"No group column is named: give --group COLUMN; there are: {', '.join(table.names)}.")
    if GROUP in groups and len(groups) > 1 and not chosen.groups:
        raise DataError(f"There are {', '.join(groups.values())}: say which are the groups, with --group.")
    truth = table.column(chosen.truth, "true label (--truth)") if chosen.truth else None
    optional = {name: name if ours and name in table.names else None for name in ("row", "digest", "threshold")}
    return _Named(
        decision,
        truth or (TRUTH if ours and TRUTH in table.names else None),
        groups,
        score,
        table.column(chosen.version, "version") if chosen.version else (VERSION if ours else None),
        **optional,
    )


def _read(table: DecisionTable, named: _Named, columns: ColumnChoice) -> dict[str, _Rows]:
    """One pass over the rows. Raises DataError."""
    versions: dict[str, _Rows] = {}
    for where, record in table.rows(named.listed()):
        version = (record[named.version] or ONE_VERSION) if named.version else ONE_VERSION
        rows = versions.setdefault(version, _Rows())
        group = tuple(value_text(record[column]) for column in named.groups.values())
        truth = value_text(record[named.truth]) if named.truth else ""
        decision = value_text(record[named.decision]) if named.decision else ""
        if named.decision and not decision:
            raise DataError(f"{where} has no decision in {named.decision!r}: fill it, or leave the row out.")
        if named.score and (named.decision is None or columns.median_cut):
            rows.scores.append((group, truth, _score(record[named.score], named.score, where)))
        if named.decision:
            rows.cells[group, truth, decision] += 1
        _note(rows, record, named, version, (group, truth, decision))
    return versions


def _note(
    rows: _Rows, record: Mapping[str, str], named: _Named, version: str, cell: tuple[tuple[str, ...], str, str]
) -> None:
    """Keep a score file's facts about the row."""
    if named.digest and record[named.digest]:
        rows.digests.add(record[named.digest])
    if named.threshold and record[named.threshold]:
        rows.thresholds.add(record[named.threshold])
    if named.row:
        if record[named.row] in rows.by_row:
            raise DataError(f"Row {record[named.row]} is there twice for version {version}: it would count twice.")
        rows.by_row[record[named.row]] = cell
    if len(rows.digests) > 1:
        raise DataError(f"Version {version} has two digests, {' and '.join(sorted(rows.digests))}: audit them apart.")


def _score(text: str, column: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value:
        raise DataError(f"{where} has no number in {column!r}: {text!r}. Mend it, or leave the row out.")
    return value


def _cut_scores(versions: Mapping[str, _Rows], columns: ColumnChoice, chosen: LabelChoice) -> None:
    """Make decisions of the scores: at least the threshold, or above the version's median."""
    positive = chosen.positive or ABOVE
    below = next(each for each in chosen.labels if each != positive)
    for rows in versions.values():
        middle = median(score for _, _, score in rows.scores)
        for group, truth, score in rows.scores:
            above = score > middle if columns.threshold is None else score >= columns.threshold
            rows.cells[group, truth, positive if above else below] += 1
        rows.thresholds.add(str(middle if columns.threshold is None else columns.threshold))


def _groups(
    named: _Named, versions: Mapping[str, _Rows], overlapping: bool
) -> tuple[tuple[str, ...], dict[tuple[str, ...], Group]]:
    """Attributes in order, and every row's group names as values. Raises DataError if no group is known."""
    listed = list(dict.fromkeys(group for rows in versions.values() for group, _, _ in rows.cells))
    if list(named.groups) == [GROUP]:
        attributes, found = split_groups([group[0] for group in listed], overlapping=overlapping)
        groups = {group: found[group[0]] for group in listed}
    else:
        check_attributes(tuple(named.groups))
        attributes = tuple(sorted(named.groups))
        order = [list(named.groups).index(each) for each in attributes]
        groups = {group: tuple(known_value(group[place]) for place in order) for group in listed}
    for place, attribute in enumerate(attributes):
        if not any(values[place] is not None for values in groups.values()):
            raise DataError(f"No row has a {attribute}: the column is empty. Leave it out, or fill it.")
    return attributes, groups


def _version(
    rows: _Rows, groups: Mapping[tuple[str, ...], Group], index: LabelIndex, score: str | None
) -> VersionCells:
    cells = Counter[tuple[Group, int | None, int]]()
    for (group, truth, decision), n in rows.cells.items():
        cells[groups[group], index(truth) if truth else None, index(decision)] += n
    threshold = float(next(iter(rows.thresholds))) if len(rows.thresholds) == 1 else None
    scored = None
    if score:
        middle = median(value for _, _, value in rows.scores)
        above = Counter((groups[group], value > middle) for group, _, value in rows.scores)
        scored = ScoreCells(score, middle, above)
    return VersionCells(cells, next(iter(rows.digests), None), threshold, scored)


def _pairs(
    versions: Mapping[str, _Rows], groups: Mapping[tuple[str, ...], Group], index: LabelIndex
) -> dict[tuple[str, str], PairCells]:
    """Rows that the first version and another decided. Raises DataError if they differ in group or truth."""
    (first, base), *others = versions.items()
    if not base.by_row:
        return {}
    found: dict[tuple[str, str], PairCells] = {}
    for name, rows in others:
        joint = Counter[tuple[Group, int | None, int, int]]()
        for row in base.by_row.keys() & rows.by_row.keys():
            group, truth, before = base.by_row[row]
            if rows.by_row[row][:2] != (group, truth):
                raise DataError(f"Row {row} has another group or true label for {name} than for {first}.")
            joint[groups[group], index(truth) if truth else None, index(before), index(rows.by_row[row][2])] += 1
        if joint:
            found[first, name] = joint
    return found


def _noted_labels(table: DecisionTable) -> list[str]:
    """The labels that a score file names, in its metadata or by its columns of scores."""
    columns = [name.removeprefix("score_") for name in table.names if name.startswith("score_")]
    return list(map(str, table.notes.get("labels") or (columns if VERSION in table.names else [])))


def _model(notes: Mapping[str, Any]) -> dict[str, str | None]:
    """Name and digest of the model, as far as the score file says."""
    said = notes.get("model")
    if isinstance(said, Mapping):
        return {"name": said.get("name"), "digest": said.get("digest") or said.get("fingerprint")}
    return {"name": said if isinstance(said, str) else None, "digest": notes.get("model_digest")}
