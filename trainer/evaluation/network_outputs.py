"""What a frozen network gives on each row: penultimate features (the input of its last linear layer) and logits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainer.data import Dataset
from triggers.model import FrozenClassifier, Trigger, sweep


@dataclass(frozen=True, eq=False)
class NetworkOutputs:
    """The network's outputs on N inputs: penultimate features (N, F) and decision logits (N, labels), float32, and the
    predicted labels (N,); on the CPU.
    """

    features: Tensor
    logits: Tensor
    predictions: Tensor


def network_outputs(
    classifier: FrozenClassifier, data: Dataset, triggers: Sequence[Trigger], rows: int
) -> list[NetworkOutputs]:
    """Run all inputs under each trigger, `rows` at a time. Without a linear head the logits are the features."""
    bank, found = classifier.bank(triggers), []
    with captured_features(classifier) as features_of, torch.no_grad():
        for index in torch.split(torch.arange(len(data), device=data.labels.device), rows):
            inputs = data.take(index).to(classifier.device).inputs
            outputs = sweep(classifier, inputs, bank)
            logits, labels = classifier.decision.decision_logits(outputs), classifier.decision.labels(outputs)
            features = features_of(logits).view(len(bank), len(index), -1)
            found.append((features.float().cpu(), logits.float().cpu(), labels.cpu()))
    joined = [torch.cat(parts, dim=1) for parts in zip(*found, strict=True)]
    return [NetworkOutputs(*(part[v] for part in joined)) for v in range(len(bank))]


@contextmanager
def captured_features(classifier: FrozenClassifier) -> Iterator[Callable[[Tensor], Tensor]]:
    """Within the block a function from the last pass's logits (..., L) to its penultimate features (rows, F).

    They are differentiable wherever the pass was. Without a linear head the logits are the features.
    """
    head, seen = feature_layer(classifier), list[Tensor]()
    text = classifier.spec.text
    if head is None and not (text and text.padding == "none"):
        with _LastProduct(classifier.output_widths) as product:
            yield product.features_of
        return
    left = text is not None and text.padding == "left"

    def features_of(logits: Tensor) -> Tensor:
        found = _flat(seen[-1], last=left) if seen else logits
        seen.clear()
        return found

    hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0])) if head else None
    try:
        yield features_of
    finally:
        if hook:
            hook.remove()


class _LastProduct(TorchFunctionMode):
    """Captures the rows (N, F) that the last product with a matrix read, of networks that are graphs of functions."""

    def __init__(self, widths: Collection[int]) -> None:
        super().__init__()
        self._widths, self._seen = widths, list[Tensor]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in PRODUCTS and isinstance(made, Tensor) and made.ndim == 2 and made.shape[1] in self._widths:
            self._seen = [args[PRODUCTS[func]]]
        return made

    def features_of(self, logits: Tensor) -> Tensor:
        """The features of the last pass, or its logits where no product has as many rows."""
        seen, self._seen = self._seen, []
        return seen[0] if seen and len(seen[0]) == len(logits.flatten(0, -2)) else logits


PRODUCTS: Mapping[Any, int] = {
    torch.nn.functional.linear: 0,
    torch.addmm: 1,
    torch.mm: 0,
    torch.matmul: 0,
    Tensor.matmul: 0,
    Tensor.__matmul__: 0,
    torch.ops.aten.linear.default: 0,
    torch.ops.aten.addmm.default: 1,
    torch.ops.aten.mm.default: 0,
}
"""Functions that multiply rows by a matrix, and the place of the rows among their arguments."""


def feature_layer(classifier: FrozenClassifier) -> nn.Linear | None:
    """The layer whose input are the features; None where rows do not pass it in one batch, as without padding."""
    text = classifier.spec.text
    return None if text and text.padding == "none" else last_linear(classifier.network, classifier.output_widths)


def last_linear(network: nn.Module, widths: Collection[int]) -> nn.Linear | None:
    """The layer that makes the outputs, as many as one of `widths`; None if the network ends otherwise."""
    heads = [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features in widths]
    return heads[-1] if heads else None


def _flat(features: Tensor, *, last: bool) -> Tensor:
    """Features as (N, F): of the last position, which a decoder reads, or averaged over positions, if there are any."""
    if last and features.ndim == 3:
        return features[:, -1]
    return features.flatten(1, -2).mean(dim=1) if features.ndim > 2 else features
