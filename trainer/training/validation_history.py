"""The history of a run's validations: every strength's trigger after every one of them, and what it predicted.

All of it is kept, since selection tests the triggers in an order that validation did not choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

PredictValidation: TypeAlias = Callable[[], Tensor]
"""Predicts the validation part (K, N) under every strength's present trigger, when it is called."""


class SnapshotStore(Protocol):
    """A store of validation snapshots, which can be written into a checkpoint and read back."""

    def offer(self, step: int, predict: PredictValidation) -> None:
        """Take every strength's trigger after `step` steps."""

    def tensors(self) -> dict[str, Tensor]:
        """All that is kept, by name."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state from which `tensors` was taken."""


class ValidationHistory:
    """Every validation in order: its step, the predictions (K, N) and the module's parameters then, on the CPU."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.steps: list[int] = []
        self.predictions: list[Tensor] = []
        self.parameters: list[dict[str, Tensor]] = []

    def offer(self, step: int, predict: PredictValidation) -> None:
        """Keep every strength's parameters and predictions."""
        self.steps.append(step)
        self.predictions.append(predict().cpu())
        self.parameters.append({name: value.detach().cpu().clone() for name, value in self.module.named_parameters()})

    def restore_module(self, places: Sequence[int]) -> None:
        """Put into row k of the module's parameters those of strength k at validation places[k]."""
        with torch.no_grad():
            for name, value in self.module.named_parameters():
                for k, place in enumerate(places):
                    value[k] = self.parameters[place][name][k].to(value.device)

    def tensors(self) -> dict[str, Tensor]:
        """`steps`, and per validation n `<n>.predictions` and `<n>.parameters.<name>`."""
        kept = {"steps": torch.tensor(self.steps, dtype=torch.int64)}
        for n, (predictions, parameters) in enumerate(zip(self.predictions, self.parameters, strict=True)):
            kept[f"{n}.predictions"] = predictions
            kept |= {f"{n}.parameters.{name}": value for name, value in parameters.items()}
        return kept

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state from which `tensors` was taken."""
        self.steps = [int(step) for step in tensors["steps"]]
        places, names = range(len(self.steps)), [name for name, _ in self.module.named_parameters()]
        self.predictions = [tensors[f"{n}.predictions"] for n in places]
        self.parameters = [{name: tensors[f"{n}.parameters.{name}"] for name in names} for n in places]
