"""From [data] and [split] to data sets: open the source, index it, split it by content, decode the parts asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from trainer.config import RunConfig
from trainer.data import Dataset, Splits
from trainer.decode import decoded, in_threads
from trainer.labels import labelled
from trainer.progress import Progress
from trainer.rows import Source
from trainer.split import Plan, split_rows
from triggers.classifier import FrozenClassifier, Item
from triggers.errors import ConfigError, DataError, InputError


def open_source(config: RunConfig) -> Source:
    """Open the data of a run. Raises DataError or ConfigError."""
    if config.data.format == "celeba":
        from trainer.celeba import CelebA

        if config.modality != "image":
            raise ConfigError(
                f'data.format = "celeba" holds images; trigger.kind {config.trigger.kind!r} works on texts.'
            )
        return CelebA(config.data)
    from trainer.table_sources import Arrow, Manifest

    kind = Manifest if config.data.format == "csv" else Arrow
    return kind(config.data, config.split, config.modality)


class DataLoader:
    """An opened, indexed and split data set; `load` decodes one of its parts, `source` still has the raw inputs."""

    def __init__(self, config: RunConfig, label_names: tuple[str, ...], cache: Path, progress: Progress) -> None:
        self._cache, self._progress = cache, progress
        self.source = open_source(config)
        self._table = labelled(config, self.source, label_names)
        self._contents = _contents(self.source, self._table.rows, progress)
        pools = [self.source.rows[row].pool for row in self._table.rows]
        self.plan = split_rows(pools, self._contents, config.split)
        progress.note(_summary(self.plan))

    def load(self, classifier: FrozenClassifier, part: str) -> Dataset:
        """Part "base", "tuning", "val" or "test", preprocessed for `classifier`. Raises DataError."""
        chosen, table = self.plan.rows[part], self._table
        if not chosen:
            raise DataError(f"The {part} part is empty: split.{part} is 0, or the pool it is drawn from has no rows.")
        rows = [table.rows[at] for at in chosen]

        def item(at: int) -> Item:
            return self._item(classifier, rows[at])

        return Dataset(
            inputs=decoded(classifier, self.contents(part), item, self._cache, self._progress, f"decode {part}"),
            labels=torch.tensor([table.labels[at] for at in chosen]),
            groups=torch.tensor([table.groups[at] for at in chosen]),
            ids=tuple(self.source.rows[row].id for row in rows),
            label_names=table.label_names,
            group_names=table.group_names,
            identities=table.identities,
        )

    def splits(self, classifier: FrozenClassifier) -> Splits:
        """The parts that a trigger is tuned, picked and reported on."""
        return Splits(*(self.load(classifier, part) for part in ("tuning", "val", "test")))

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


def _contents(source: Source, rows: tuple[int, ...], progress: Progress) -> list[str]:
    """A digest per row: of an image file's bytes, or of a text without its case and spacing."""

    def digest(row: int) -> str:
        raw = source.read(row)
        data = raw if isinstance(raw, bytes) else " ".join(raw.casefold().split()).encode()
        return hashlib.sha256(data).hexdigest()

    found = []
    with progress.task("read data", len(rows)) as task:
        for content in in_threads(digest, rows):
            task.advance()
            found.append(content)
    return found


def _summary(plan: Plan) -> str:
    sizes = "  ".join(f"{part} {len(plan.rows[part])}" for part in ("base", "tuning", "val", "test"))
    extra = f"  ({plan.left_out} copies of evaluation rows left out)" if plan.left_out else ""
    return f"data: {sizes}{extra}"
