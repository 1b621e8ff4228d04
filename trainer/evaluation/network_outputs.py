"""What a frozen network gives on each row: penultimate features (the input of its last linear layer) and logits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
    left = classifier.spec.text is not None and classifier.spec.text.padding == "left"

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
