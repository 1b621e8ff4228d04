"""The tuning rows that are asked, and the model's answers to them under any trigger."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.data import Dataset
from trainer.queries import asked_for
from trainer.training.objectives.calibration import temperature_of
from triggers.model import Bank, FrozenClassifier, sweep
from triggers.model.decision import DecisionRule

SURE = 2.0
"""Logit of a decided label, where nothing but labels comes back; the others get its negative."""


class AskedRows:
    """Rows of the tuning part, asked for scores or, with `labels_only`, for labels."""

    def __init__(self, classifier: FrozenClassifier, data: Dataset, *, labels_only: bool, batch: int) -> None:
        self.classifier, self.data, self.labels_only, self.batch = classifier, data, labels_only, batch
        self.bare = self.ask(classifier.bank([classifier.null_trigger()]))[0]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def decision(self) -> DecisionRule:
        """How a label follows from the answers; where they are labels, they are decided already."""
        return DecisionRule(self.classifier.pos_label) if self.labels_only else self.classifier.decision

    def ask(self, bank: Bank, rows: Tensor | None = None) -> Tensor:
        """Logits (V, N, L) of the rows, or of some of them, under every trigger of a bank. Raises BudgetSpent."""
        chosen = torch.arange(len(self.data)) if rows is None else rows
        device, found = self.data.labels.device, []
        with torch.inference_mode(), asked_for(self.classifier, "tuning"):
            for part in chosen.split(max(1, self.batch // len(bank))):
                inputs = self.data.take(part.to(device)).to(self.classifier.device).inputs
                found.append(self._told(sweep(self.classifier, inputs, bank).float()))
        return torch.cat(found, dim=1).clone()

    def temperature(self) -> float:
        """The calibrating temperature of the bare answers, to two digits."""
        logits = self.decision.decision_logits(self.bare).double()
        return float(f"{temperature_of(logits, self.data.labels.to(logits.device)):.2g}")

    def _told(self, logits: Tensor) -> Tensor:
        """What training gets to see of logits (V, B, L)."""
        if not self.labels_only:
            return logits
        decided = self.classifier.decision.labels(logits)
        return SURE * (2 * torch.nn.functional.one_hot(decided, logits.shape[-1]).float() - 1)


def representative_rows(data: Dataset, count: int, seed: int) -> Tensor:
    """`count` row numbers in an order whose every beginning has labels and groups in their proportions."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(data), generator=generator)
    cells = (data.groups.cpu() * len(data.label_names) + data.labels.cpu())[shuffled]
    place = torch.empty(len(data), dtype=torch.float64)
    for cell in cells.unique():
        own = (cells == cell).nonzero().squeeze(1)
        place[own] = (torch.arange(len(own), dtype=torch.float64) + 0.5) / len(own)
    return shuffled[place.argsort(stable=True)][:count]
