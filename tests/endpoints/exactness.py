"""Scores of an endpoint's bundle beside those of the local model behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from triggers.model.classifier import FrozenClassifier, Trigger
from triggers.model.reprogram import reprogram, scores
from triggers.trigger import ImageBank


def largest_difference(
    bundle: FrozenClassifier, local: FrozenClassifier, inputs: Sequence[bytes | str], trigger: Trigger | None = None
) -> float:
    """Largest difference of a score between the two, for the same raw inputs under the same trigger.

    Where the bundle's pictures travel as whole grey values, the local model is given such.
    """
    index = torch.zeros(len(inputs), dtype=torch.long)
    with torch.no_grad():
        found = scores(_logits(bundle, inputs, trigger, index))
        items = local.batch([local.preprocess(each) for each in inputs])
        bank = local.bank([trigger or local.null_trigger()])
        if isinstance(bank, ImageBank):
            images = bank.apply(cast(Tensor, items), index)
            whole = bundle.spec.loader.encoding != "float"  # type: ignore[union-attr]
            expected = local.image_logits((images * 255).round() / 255 if whole else images)
        else:
            expected = reprogram(local, items, bank, index)
    return float((found - scores(expected)).abs().max())


def _logits(model: FrozenClassifier, inputs: Sequence[bytes | str], trigger: Trigger | None, index: Tensor) -> Tensor:
    bank = model.bank([trigger or model.null_trigger()])
    return reprogram(model, model.batch([model.preprocess(each) for each in inputs]), bank, index)
