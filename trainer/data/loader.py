"""Loading of data sets: open the source, index it, split it by content, decode the parts asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from trainer.config import RunConfig
from trainer.config.value_config import joint_map
from trainer.data.content_hash import content_digests
from trainer.data.dataset import Dataset, Splits, cell_counts
from trainer.data.decode import decode_inputs
from trainer.data.labels import index_labels
from trainer.data.sources.bad_rows import BadRecord, BadRows
from trainer.data.sources.base import Source
from trainer.data.sources.celeba import CelebA
from trainer.data.sources.civil_comments import CivilComments
from trainer.data.sources.input_files import open_files
from trainer.data.sources.tables.path_pattern import PathPattern
from trainer.data.sources.tables.path_table import PathTable
from trainer.data.sources.tables.table import Table
from trainer.data.sources.tables.table_formats import find_format, open_table
from trainer.data.sources.tables.table_source import TableSource
from trainer.data.sources.utkface import UTKFace
from trainer.data.split import SplitPlan, split_rows
from trainer.progress import Progress
from triggers.errors import ConfigError, DataError, InputError
from triggers.model import FrozenClassifier, Item
from triggers.preprocessing import Inputs

UNDECODABLE = "undecodable input"


def open_source(config: RunConfig, bad_rows: BadRows | None = None) -> Source:
    """Open the data of a run; `bad_rows` counts what is left out. Raises DataError or ConfigError."""
    bad_rows = BadRows(config.data.on_bad_row) if bad_rows is None else bad_rows
    data, wanted = config.data, config.modality
    kind = find_format(data)
    data.check_values_of(kind)
    holds = {"celeba": "image", "utkface": "image", "civilcomments": "text"}.get(kind, wanted)
    if holds != wanted:
        raise ConfigError(
            f'data.format = "{kind}" holds {holds}s; trigger.kind {config.trigger.kind!r} works on {wanted}s.'
        )
    match kind:
        case "celeba":
            return CelebA(data)
        case "utkface":
            return UTKFace(data)
        case "civilcomments":
            return CivilComments(data, config.split, bad_rows)
    return _open_table_source(kind, config, bad_rows)


def _open_table_source(kind: str, config: RunConfig, bad_rows: BadRows) -> Source:
    data = config.data
    if kind == "files":
        files = open_files(data.path, "the data")
        pattern = PathPattern(data.columns_from_path or "")
        table: Table = PathTable(files, pattern, config.modality, data.encoding)
    else:
        table = open_table(kind, data)
        here = data.path if data.path.is_dir() else data.path.parent
        files = open_files(data.root or here, "the images", "data.root")
    return TableSource(table, files, data, config.split, config.modality, bad_rows)


class DataLoader:
    """An opened, indexed and split data set; `load` decodes one of its parts, `source` still has the raw inputs."""

    def __init__(self, config: RunConfig, label_names: tuple[str, ...], cache: Path, progress: Progress) -> None:
        """`label_names` are those of the classifier; empty: the ones that the data's own layout gives."""
        self._cache, self._progress = cache, progress
        self._on_bad_row = config.data.on_bad_row
        bad_rows = BadRows(self._on_bad_row)
        self.source = open_source(config, bad_rows)
        self.label_names = label_names or _layout_names(config, self.source)
        notes = [*self.source.notes, *bad_rows.notes(len(self.source.rows))]
        table = index_labels(config, self.source, self.label_names)
        unreadable = BadRows(self._on_bad_row)
        found = content_digests(self.source, table.rows, cache, config.data.path, progress, bad_rows=unreadable)
        self._table = table.take([at for at, digest in enumerate(found) if digest])
        self._contents = [digest for digest in found if digest]
        pools = [self.source.rows[row].pool for row in self._table.rows]
        self.plan = split_rows(pools, self._contents, config.split)
        if config.data.format == "auto":
            progress.note(f'data: {config.data.path.name} is read as format = "{find_format(config.data)}"')
        for note in (*notes, *table.notes, *unreadable.notes(len(table.rows)), _summary(self.plan)):
            progress.note(note)

    def load(self, classifier: FrozenClassifier, part: str) -> Dataset:
        """Part "base", "tuning", "val" or "test", preprocessed for `classifier`. Raises DataError.

        Rows whose input cannot be decoded are refused, or leave the part for good.
        """
        if not self.plan.rows[part]:
            raise DataError(f"The {part} part is empty: split.{part} is 0, or the pool it is drawn from has no rows.")
        inputs = self._decoded(classifier, part)
        chosen, table = self.plan.rows[part], self._table
        rows = [table.rows[at] for at in chosen]
        return Dataset(
            inputs=inputs,
            labels=torch.tensor([table.labels[at] for at in chosen]),
            groups=torch.tensor([table.groups[at] for at in chosen]),
            ids=tuple(self.source.rows[row].id for row in rows),
            label_names=table.label_names,
            group_names=table.group_names,
            identities=table.identities,
        )

    def splits(self, classifier: FrozenClassifier) -> Splits:
        """The tuning, val and test parts, preprocessed for `classifier`."""
        return Splits(*(self.load(classifier, part) for part in ("tuning", "val", "test")))

    def rows(self, part: str) -> list[tuple[int, str, int]]:
        """(row of `source`, group name, label index) of every example of a part, in the order of `load`."""
        table = self._table
        return [(table.rows[at], table.group_names[table.groups[at]], table.labels[at]) for at in self.plan.rows[part]]

    def counts(self, part: str) -> dict[tuple[str, int], int]:
        """Examples of a part per (group name, label index)."""
        table, chosen = self._table, self.plan.rows[part]
        groups, labels = [table.groups[at] for at in chosen], [table.labels[at] for at in chosen]
        return cell_counts(groups, labels, table.group_names)

    def contents(self, part: str) -> list[str]:
        """Content digests of a part's examples."""
        return [self._contents[at] for at in self.plan.rows[part]]

    def raw(self, part: str) -> list[tuple[str, bytes | str]]:
        """(id, raw input) of every example of a part, in the order of `load`: what a client would send."""
        rows = [self._table.rows[at] for at in self.plan.rows[part]]
        return [(self.source.rows[row].id, self.source.read(row)) for row in rows]

    def _decoded(self, classifier: FrozenClassifier, part: str) -> Inputs:
        """The decoded inputs of a part, which loses the rows that have none."""
        chosen, bad_rows = self.plan.rows[part], BadRows(self._on_bad_row)
        rows = [self._table.rows[at] for at in chosen]

        def item(at: int) -> Item | BadRecord:
            try:
                return classifier.preprocess(self.source.read(rows[at]))
            except InputError as error:
                problem = f"cannot be used ({error.code}): {error}".rstrip(".")
                if self._on_bad_row == "refuse":
                    bad_rows.refuse_or_skip(self.source.rows[rows[at]].id, UNDECODABLE, problem)
                return BadRecord(UNDECODABLE, problem)

        decoded = decode_inputs(classifier, self.contents(part), item, self._cache, self._progress, f"decode {part}")
        for at, problem in decoded.failed.items():
            bad_rows.refuse_or_skip(self.source.rows[rows[at]].id, UNDECODABLE, problem)
        kept = tuple(row for at, row in enumerate(chosen) if at not in decoded.failed)
        self.plan = replace(self.plan, rows={**self.plan.rows, part: kept})
        for note in bad_rows.notes(len(self._table.rows)):
            self._progress.note(note)
        if not kept:
            raise DataError(f"No input of the {part} part can be decoded; check data.input and the files.")
        return decoded.inputs


def _layout_names(config: RunConfig, source: Source) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(joint_map(config.data.label_map).values())) or source.label_names
    if not names or all(name.isdigit() for name in names):
        raise ConfigError(
            f"base.labels is missing, and data in format {find_format(config.data)!r} does not name its labels."
        )
    return names


def _summary(plan: SplitPlan) -> str:
    sizes = "  ".join(f"{part} {len(plan.rows[part])}" for part in ("base", "tuning", "val", "test"))
    extra = f"  ({plan.left_out} copies of evaluation rows left out)" if plan.left_out else ""
    return f"data: {sizes}{extra}"
