"""Loading of data sets: open the source, index it, split it by content, decode the parts asked for."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.config import RunConfig
from trainer.data.content_hash import content_digests
from trainer.data.dataset import Dataset, Splits, cell_counts
from trainer.data.decode import decode_inputs
from trainer.data.labels import index_labels
from trainer.data.sources.base import Source
from trainer.data.sources.celeba import CelebA
from trainer.data.sources.civil_comments import CivilComments
from trainer.data.sources.table_sources import ArrowDataset, CsvManifest
from trainer.data.sources.utkface import UTKFace
from trainer.data.split import SplitPlan, split_rows
from trainer.progress import Progress
from triggers.errors import ConfigError, DataError, InputError
from triggers.model import FrozenClassifier, Item


def open_source(config: RunConfig) -> Source:
    """Open the data of a run. Raises DataError or ConfigError."""
    data, split, wanted = config.data, config.split, config.modality
    holds = {"celeba": "image", "utkface": "image", "civilcomments": "text"}.get(data.format, wanted)
    if holds != wanted:
        kind = config.trigger.kind
        raise ConfigError(f'data.format = "{data.format}" holds {holds}s; trigger.kind {kind!r} works on {wanted}s.')
    match data.format:
        case "celeba":
            return CelebA(data)
        case "utkface":
            return UTKFace(data)
        case "civilcomments":
            return CivilComments(data, split)
        case "csv":
            return CsvManifest(data, split, wanted)
        case "datasets":
            return ArrowDataset(data, split, wanted)


class DataLoader:
    """An opened, indexed and split data set; `load` decodes one of its parts, `source` still has the raw inputs."""

    def __init__(self, config: RunConfig, label_names: tuple[str, ...], cache: Path, progress: Progress) -> None:
        """`label_names` are those of the classifier; empty: the ones that the data's own layout gives."""
        self._cache, self._progress = cache, progress
        self.source = open_source(config)
        self.label_names = label_names or _layout_names(config, self.source)
        self._table = index_labels(config, self.source, self.label_names)
        self._contents = content_digests(self.source, self._table.rows, cache, config.data.path, progress)
        pools = [self.source.rows[row].pool for row in self._table.rows]
        self.plan = split_rows(pools, self._contents, config.split)
        for note in (*self.source.notes, _summary(self.plan)):
            progress.note(note)

    def load(self, classifier: FrozenClassifier, part: str) -> Dataset:
        """Part "base", "tuning", "val" or "test", preprocessed for `classifier`. Raises DataError."""
        chosen, table = self.plan.rows[part], self._table
        if not chosen:
            raise DataError(f"The {part} part is empty: split.{part} is 0, or the pool it is drawn from has no rows.")
        rows = [table.rows[at] for at in chosen]

        def item(at: int) -> Item:
            return self._item(classifier, rows[at])

        return Dataset(
            inputs=decode_inputs(classifier, self.contents(part), item, self._cache, self._progress, f"decode {part}"),
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

    def _item(self, classifier: FrozenClassifier, row: int) -> Item:
        try:
            return classifier.preprocess(self.source.read(row))
        except InputError as error:
            raise DataError(f"{self.source.rows[row].id} cannot be used ({error.code}): {error}") from error


def _layout_names(config: RunConfig, source: Source) -> tuple[str, ...]:
    if not source.label_names:
        raise ConfigError(
            f"base.labels is missing, and data in format {config.data.format!r} does not name its labels."
        )
    return source.label_names


def _summary(plan: SplitPlan) -> str:
    sizes = "  ".join(f"{part} {len(plan.rows[part])}" for part in ("base", "tuning", "val", "test"))
    extra = f"  ({plan.left_out} copies of evaluation rows left out)" if plan.left_out else ""
    return f"data: {sizes}{extra}"
