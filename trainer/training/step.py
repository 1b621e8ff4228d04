"""One training step: batch -> render -> forward -> losses -> gradients of the trigger -> surgery -> optimiser.

The step computes gradients of the trigger only; the frozen model's weights need none. The losses and their gradients at
the logits are in objectives/objective_step.py. The expensive backward pass through the model runs once for both
gradients where that is exact (trainer/training/vjp.py), whatever the number K of strengths: each trigger sees only its
own rows.

Several processes (trainer/distributed.py) each run their own rows of a batch and compute the losses of all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.config import TrainConfig
from trainer.data import Dataset
from trainer.distributed import ProcessGroup
from trainer.training.cuda_graph_step import CudaGraphStep
from trainer.training.kept_activations import must_recompute
from trainer.training.objectives.objective_step import Losses, ObjectiveStep, StepConfig, adam, descend
from trainer.training.shared_text import shares_text
from trainer.training.vjp import LogitsWithVjp, bank_tensors, forward_with_vjp
from triggers.errors import ConfigError, ModelError
from triggers.model import Bank, FrozenClassifier
from triggers.trigger.image_trainable import ImageModule
from triggers.trigger.text_trainable import TextModule

COMPUTE_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


class TriggerOptimizer(ObjectiveStep):
    """The K triggers in training, with their adversaries and optimizers; only `step` changes them.

    `average` is validated and kept: a running average of the triggers, or the triggers themselves.
    """

    def __init__(
        self,
        classifier: FrozenClassifier,
        module: ImageModule | TextModule,
        train: TrainConfig,
        config: StepConfig,
        process_group: ProcessGroup | None = None,
    ) -> None:
        device = classifier.device
        super().__init__(config, train, classifier)
        self.classifier, self.train = classifier, train
        self.module = module.to(device)
        self.process_group = process_group or ProcessGroup()
        self.dtype = COMPUTE_DTYPES[train.precision]
        self._recomputes: bool | None = None if train.recompute == "auto" else train.recompute
        self.fast = self._fast(recompute=train.recompute is True)
        self.shared_text = False
        if isinstance(module, TextModule) and train.recompute is not True:
            self.shared_text = shares_text(self.fast, module.position, self.dtype)
        self.antisymmetric = self.objective.centred and len(classifier.labels) == 2
        self.parameters: list[Tensor] = list(module.parameters())
        self.average = copy.deepcopy(self.module) if train.average else self.module
        self.optimizer = adam(self.parameters, train.lr, train.weight_decay)
        text = classifier.spec.text
        recordable = device.type == "cuda" and not (text and text.padding == "none")  # whose passes depend on lengths
        self._replay = CudaGraphStep(self._run) if train.graph and recordable else None

    def step(self, number: int, batch: Dataset) -> Losses:
        """Train all K triggers on one batch; `number` counts from 0 and sets the learning rates.

        With several processes the batch's inputs are this process's part of its rows, labels and groups are all.
        """
        self.set_learning_rates(self.optimizer, number)
        self._make_room(batch)
        utility, fairness = self._replay(batch) if self._replay else self._run(batch)
        self._update_average(number)
        return Losses(utility, fairness)

    @property
    def recomputes(self) -> bool:
        """Whether activations are computed again on the way back."""
        return bool(self._recomputes)

    def _fast(self, *, recompute: bool) -> FrozenClassifier:
        try:
            return self.classifier.accelerated(self.dtype, compiled=self.train.compile, recompute=recompute)
        except ModelError as error:
            if not recompute:
                raise
            raise ConfigError(f"train.recompute cannot be true: {error}") from error

    def _make_room(self, batch: Dataset) -> None:
        """Before the first step: compute activations again if those of this batch do not fit into the GPU's memory."""
        if self._recomputes is None and not self.shared_text:
            plain = self.classifier.accelerated(self.dtype)
            self._recomputes = must_recompute(plain, batch.inputs, self.module.render(), self.dtype)
            if self._recomputes:
                self.fast = self._fast(recompute=True)

    def bytes_exchanged(self, rows: int) -> int:
        """Bytes that a step of `rows` rows passes between processes: logits, and the gradients of the triggers."""
        gradients = 2 if self.objective.name == "adversarial" else 1
        logits = len(self.strengths) * rows * self.sizes[0]
        return 4 * (logits + gradients * min(_entries(self.parameters), _entries(bank_tensors(self.module.render()))))

    def _run(self, batch: Dataset) -> tuple[Tensor, Tensor]:
        """The part of a step that can be recorded; returns utility and fairness losses (K,) before it."""
        bank = self.module.render()
        forwarded = forward_with_vjp(
            self.fast, batch.inputs, bank, self.dtype, antisymmetric=self.antisymmetric, shared_text=self.shared_text
        )
        gathered = self.process_group.all_gather(forwarded.logits, len(batch))
        losses, cotangents = self.cotangents((gathered / self.temperature).requires_grad_(), batch)
        gradients = self.fair_gradients(self._vjp(forwarded, bank, cotangents))
        descend(self.optimizer, self.parameters, gradients)
        self.module.constrain_()
        return losses.utility, losses.fairness

    def _vjp(self, forwarded: LogitsWithVjp, bank: Bank, cotangents: Sequence[Tensor]) -> list[Sequence[Tensor]]:
        """Gradients of R losses with respect to the trigger's parameters, from those at the logits (K, B, L).

        They are summed over the processes at the bank or at the parameters, whichever has fewer numbers: the way
        between is the same in every process.
        """
        part = self.process_group.part(cotangents[0].shape[1])
        pulled = forwarded.vjp([cotangent[:, part] / self.temperature for cotangent in cotangents])
        early = _entries(bank_tensors(bank)) < _entries(self.parameters)
        if early:
            self.process_group.all_reduce_sum([gradient for each in pulled for gradient in each])
        found: list[Sequence[Tensor]] = [
            torch.autograd.grad(bank_tensors(bank), self.parameters, gradients, retain_graph=True)
            for gradients in pulled
        ]
        if not early:
            self.process_group.all_reduce_sum([gradient for each in found for gradient in each])
        return found

    def _update_average(self, number: int) -> None:
        """Update the running average, over few steps at first, so that it soon forgets the start."""
        if self.average is not self.module:
            decay = min(self.train.average, (1 + number) / (10 + number))
            with torch.no_grad():
                averages: list[Tensor] = list(self.average.parameters())
                torch._foreach_lerp_(averages, self.parameters, 1 - decay)


def _entries(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)
