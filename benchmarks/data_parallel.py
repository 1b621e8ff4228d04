"""Adversarial training of a whole model on several GPUs with torch's DistributedDataParallel, to stand beside triggers.

Each process has a batch of its own; gradients of all weights are averaged in buckets while the way back goes on. The
step needs two of them, of the utility and of the adversary's loss, so all weights are sent twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.baselines.finetune_step import FinetuneOptimizer
from trainer.config import ObjectiveConfig
from trainer.config.hyperparameters import Hyperparameters
from trainer.data import Dataset
from trainer.training.objectives.objective_step import StepConfig
from triggers.model import FrozenClassifier, sweep
from triggers.preprocessing import Inputs


class Whole(nn.Module):
    """Inputs to logits (1, B, L) of a classifier, as one module, which is what can be made parallel."""

    def __init__(self, model: FrozenClassifier) -> None:
        super().__init__()
        self.network = model.network
        self._model, self._bare = model, model.bank([model.null_trigger()])

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the model without a trigger."""
        return sweep(self._model, inputs, self._bare)


class ParallelWeightLearner(FinetuneOptimizer):
    """A FinetuneOptimizer whose gradients are means over all processes; a batch is this process's own rows."""

    def __init__(
        self, model: FrozenClassifier, groups: int, objective: ObjectiveConfig, recipe: Hyperparameters
    ) -> None:
        super().__init__(model, recipe, StepConfig(objective, groups, 10**6))
        self.parallel = DistributedDataParallel(Whole(model))
        self.adversary_optimizer.register_step_pre_hook(lambda *_: self._average(list(self.adversaries.parameters())))

    def _forward(self, batch: Dataset) -> Tensor:
        self.parallel.train()
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.hyperparameters.bf16):
            logits: Tensor = self.parallel(batch.inputs)
        return logits

    def _vjp(self, logits: Tensor, at_logits: Tensor, *, keep: bool = False) -> list[Tensor | None]:
        self.parallel.zero_grad()
        self.parallel.reducer._rebuild_buckets()  # both as a forward pass does; here two ways back follow one
        self.parallel.reducer.prepare_for_backward([])
        logits.backward(at_logits, retain_graph=keep)
        gradients = [parameter.grad for parameter in self.parameters]
        self.parallel.zero_grad()
        return gradients

    @staticmethod
    def _average(parameters: Sequence[nn.Parameter]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
