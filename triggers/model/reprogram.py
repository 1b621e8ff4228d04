"""The one forward pass of trainer and service: logits = classifier(trigger(inputs))."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from triggers.model.classifier import Bank, FrozenClassifier
from triggers.preprocessing import Inputs, TextBatch
from triggers.trigger import ImageBank, TextBank


def reprogram(classifier: FrozenClassifier, inputs: Inputs, bank: Bank, index: Tensor) -> Tensor:
    """Logits (N, labels) of N inputs, each under its own trigger bank[index[n]]. Gradients flow to the bank."""
    if isinstance(bank, ImageBank):
        return classifier.image_logits(bank.apply(cast(Tensor, inputs), index))
    return classifier.triggered_text_logits(cast(TextBatch, inputs), bank, index)


def sweep(classifier: FrozenClassifier, inputs: Inputs, bank: Bank) -> Tensor:
    """Logits (V, N, labels): every trigger of the bank on every input, in one forward pass."""
    if isinstance(bank, ImageBank):
        logits = classifier.image_logits(bank.apply_all(cast(Tensor, inputs)))
    else:
        logits = _text_sweep(classifier, cast(TextBatch, inputs), bank)
    return logits.view(len(bank), len(inputs), -1)


def scores(logits: Tensor) -> Tensor:
    """Class probabilities (..., labels)."""
    return torch.softmax(logits, dim=-1)


def _text_sweep(classifier: FrozenClassifier, batch: TextBatch, bank: TextBank) -> Tensor:
    rows = len(batch)
    index = torch.arange(len(bank), device=batch.ids.device).repeat_interleave(rows)
    repeated = TextBatch(batch.ids.repeat(len(bank), 1), batch.lengths.repeat(len(bank)))
    return classifier.triggered_text_logits(repeated, bank, index)
