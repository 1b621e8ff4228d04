"""Attributions of a diagnosis's examples, without the trigger and with it. Needs captum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.data import Dataset
from trainer.diagnostics.saliency import ImageSaliency, TextSaliency, image_saliency, text_saliency
from trainer.distributed import deterministic_algorithms
from triggers.model import FrozenClassifier, Trigger
from triggers.preprocessing import TextBatch
from triggers.trigger import ImageTrigger, TextTrigger


@dataclass(frozen=True, eq=False)
class ExplainedImages:
    """All examples without and with the trigger; `plain` (N, C, H, W) in [0, 1] are the images themselves."""

    plain: Tensor
    bare: ImageSaliency
    trigger: ImageSaliency


@dataclass(frozen=True, eq=False)
class ExplainedText:
    """One example without and with the trigger."""

    bare: TextSaliency
    trigger: TextSaliency


Explained: TypeAlias = ExplainedImages | tuple[ExplainedText, ...]


def explain(config: RunConfig, classifier: FrozenClassifier, examples: Dataset, trigger: Trigger) -> Explained:
    """Integrated gradients of every example, with as many steps as [report] says."""
    steps, null, inputs = config.report.saliency_steps, classifier.null_trigger(), examples.inputs
    with deterministic_algorithms(classifier.device, config.train.threads):
        if isinstance(inputs, TextBatch):
            assert isinstance(trigger, TextTrigger) and isinstance(null, TextTrigger)
            rows = [inputs.ids[row, : int(inputs.lengths[row])].cpu() for row in range(len(inputs))]
            return tuple(
                ExplainedText(*(text_saliency(classifier, ids, t, steps) for t in (null, trigger))) for ids in rows
            )
        assert isinstance(trigger, ImageTrigger) and isinstance(null, ImageTrigger)
        bare, explained = (image_saliency(classifier, inputs, each, steps) for each in (null, trigger))
        return ExplainedImages(inputs.to("cpu", torch.float32) / 255.0, bare, explained)


def trigger_shares(explained: Explained) -> list[float]:
    """Share of attribution mass on what the trigger wrote, per example."""
    if isinstance(explained, ExplainedImages):
        shares: list[float] = explained.trigger.share.tolist()
        return shares
    return [pair.trigger.share for pair in explained]
