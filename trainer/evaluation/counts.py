"""Confusion counts of a data set under each trigger of a bank: all that any accuracy or fairness figure needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from trainer.data import Dataset, stream_batches
from trainer.distributed import ProcessGroup
from triggers.model import Bank, FrozenClassifier, sweep
from triggers.preprocessing import TextBatch

ConfusionCounts: TypeAlias = Mapping[tuple[str, int | None, int], int]
"""Confusion counts by (group name, label index, predicted index), as triggers.metrics.fairness_report reads them."""


def confusion_counts(
    classifier: FrozenClassifier, data: Dataset, bank: Bank, rows: int, process_group: ProcessGroup | None = None
) -> list[ConfusionCounts]:
    """Per trigger of the bank: {(group name, label, prediction): n}. The parameters are those of `predicted_labels`."""
    predictions = predicted_labels(classifier, data, bank, rows, process_group)
    return [_named(table, data.group_names) for table in _count(predictions, data).cpu()]


def predicted_labels(
    classifier: FrozenClassifier, data: Dataset, bank: Bank, rows: int, process_group: ProcessGroup | None = None
) -> Tensor:
    """Predicted labels (V, N), int32, of every row under every trigger of the bank, in the precision that is served.

    `rows` inputs at a time go through the model under all V triggers, so V * rows share a forward pass. Several
    processes predict a part of the rows each. The order, and the device, are those of the data.
    """
    process_group = process_group or ProcessGroup()
    found, device = torch.zeros(len(bank), len(data), dtype=torch.int32, device=classifier.device), classifier.device
    own = list(chunks(data, rows, process_group))
    with torch.inference_mode():
        for index, batch in zip(own, stream_batches(_taken(data), own, data, rows, device), strict=True):
            found[:, index.to(device)] = classifier.decision.labels(sweep(classifier, batch.inputs, bank)).int()
    process_group.all_reduce_sum([found])
    return found.to(data.labels.device)


def evaluation_classifier(classifier: FrozenClassifier) -> FrozenClassifier:
    """The classifier that counts: the accelerated one on a GPU, and where weights are narrower than its precision."""
    fast = classifier.device.type == "cuda" or classifier.is_widened
    return classifier.accelerated() if fast else classifier


def bare_logits(classifier: FrozenClassifier, data: Dataset, rows: int) -> Tensor:
    """Logits of the bare model (N, L) in float64, in the order and on the device of the data; `rows` at a time."""
    bank, device = classifier.bank([classifier.null_trigger()]), data.labels.device
    found = torch.empty(len(data), len(classifier.labels), dtype=torch.float64, device=device)
    with torch.inference_mode():
        for index in chunks(data, rows, ProcessGroup()):
            batch = data.take(index).to(classifier.device)
            found[index] = sweep(classifier, batch.inputs, bank)[0].double().to(device)
    return found


def count_predictions(data: Dataset, predictions: Tensor) -> ConfusionCounts:
    """Confusion counts of given predictions (N,), one per row of the data."""
    return _named(_count(predictions[None], data).cpu()[0], data.group_names)


def accuracy(counts: ConfusionCounts) -> float:
    """Share of the counted rows whose label was predicted."""
    return sum(n for (_, label, prediction), n in counts.items() if label == prediction) / sum(counts.values())


def _taken(data: Dataset) -> Callable[[Tensor, Tensor | None], Dataset]:
    return lambda rows, into: data.take(rows, into=into)


def chunks(data: Dataset, rows: int, process_group: ProcessGroup) -> Iterator[Tensor]:
    """This process's row numbers, `rows` at a time; texts by length, which saves padding."""
    order = torch.arange(len(data), device=data.labels.device)
    if isinstance(data.inputs, TextBatch):
        order = data.inputs.lengths.argsort(stable=True)
    own = order[process_group.part(len(order))]
    yield from torch.split(own, rows) if len(own) else ()


def _shape(data: Dataset) -> tuple[int, int, int]:
    return len(data.group_names), len(data.label_names), len(data.label_names)


def _count(predictions: Tensor, data: Dataset) -> Tensor:
    """predictions (V, N) to counts (V, groups, labels, predictions)."""
    shape = _shape(data)
    cells = shape[0] * shape[1] * shape[2]
    cell = (data.groups * shape[1] + data.labels) * shape[2] + predictions
    which = torch.arange(len(predictions), device=cell.device)[:, None] * cells + cell
    return torch.bincount(which.flatten(), minlength=len(predictions) * cells).view(-1, *shape)


def _named(table: Tensor, groups: tuple[str, ...]) -> ConfusionCounts:
    """One trigger's counts (G, L, L) by name, without the empty cells."""
    filled = ((cell, int(table[tuple(cell)])) for cell in table.nonzero().tolist())
    return {(groups[group], label, prediction): n for (group, label, prediction), n in filled}
