"""The scoring of batches: rows that are prepared once, and one forward pass of them under every version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fairtrigger.scoring.version_choice import ScoringVersion, choose_versions
from triggers.errors import FairtriggerError, ModelError
from triggers.model import FrozenClassifier, Item, load_bundle, scores, sweep
from triggers.model.endpoint import EndpointLoader
from triggers.preprocessing import TokenIds
from triggers.store import open_store


class BatchScorer:
    """A frozen model on its device, under some versions; computes as a service does. For one thread at a time."""

    def __init__(self, classifier: FrozenClassifier, versions: Sequence[ScoringVersion], batch_size: int = 32) -> None:
        self.classifier, self.versions = classifier, tuple(versions)
        remote = classifier.spec.loader
        self._batch_size = min(batch_size, remote.max_batch) if isinstance(remote, EndpointLoader) else batch_size
        cuda = classifier.device.type == "cuda"
        if cuda:  # as in a service: float32 is float32
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self._network = classifier.accelerated() if cuda else classifier.for_inference()
        self._bank = self._network.bank([version.trigger for version in self.versions])
        self._label_of_scores = classifier.decision.label_of_scores

    @classmethod
    def open(
        cls, bundle: Path | str, trigger: Sequence[str] = (), store: str | None = None, device: str = "cpu"
    ) -> BatchScorer:
        """A scorer of a bundle under these words of `choose_versions`. Raises FairtriggerError."""
        classifier = load_bundle(bundle, device)
        if store is None:
            return cls(classifier, choose_versions(trigger, classifier))
        with open_store(store, create=False) as opened:
            return cls(classifier, choose_versions(trigger, classifier, opened))

    def prepare(self, data: bytes | str) -> Item:
        """One image file or text as an item of a batch. Raises InputError. On any thread."""
        return self.classifier.preprocess(data)

    def scores(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """Scores (N, V, labels) of N items under all V versions; texts of alike length share batches.

        Raises ModelError for an answer that is no number.
        """
        found = np.empty((len(items), len(self.versions), len(self.classifier.labels)), np.float32)
        order = sorted(range(len(items)), key=lambda at: _length(items[at]))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            found[rows] = self._pass([items[at] for at in rows])
        if not np.isfinite(found).all():
            raise ModelError("The network answered NaN; check the model with the trigger none.")
        return found

    def label_of(self, row: NDArray[np.float32]) -> int:
        """Index of the label that a row of scores (labels,) stands for."""
        return self._label_of_scores(row.tolist())

    def __call__(self, inputs: Sequence[bytes | str]) -> list[dict[str, Any]]:
        """A record per input and version: `row`, `version`, `digest`, `label`, a score per label; or `error`."""
        prepared = [self._prepared(data) for data in inputs]
        good = [at for at, item in enumerate(prepared) if not isinstance(item, FairtriggerError)]
        table = self.scores([prepared[at] for at in good]) if good else None  # type: ignore[misc]
        records = [{"row": at, "error": str(error)} for at, error in enumerate(prepared) if at not in set(good)]
        names = self.classifier.labels
        for at, rows in zip(good, () if table is None else table, strict=True):
            for version, row in zip(self.versions, rows, strict=True):
                figures = {f"score_{name}": float(value) for name, value in zip(names, row, strict=True)}
                label = {"version": version.name, "digest": version.digest, "label": names[self.label_of(row)]}
                records.append({"row": at, **label, **figures})
        return sorted(records, key=lambda record: record["row"])

    def _prepared(self, data: bytes | str) -> Item | FairtriggerError:
        try:
            return self.prepare(data)
        except FairtriggerError as error:
            return error

    @torch.inference_mode()
    def _pass(self, items: Sequence[Item]) -> NDArray[np.float32]:
        table = scores(sweep(self._network, self._network.batch(items), self._bank))
        return table.float().cpu().numpy().swapaxes(0, 1)


def _length(item: Item) -> int:
    return len(item.ids) if isinstance(item, TokenIds) else 0
