"""Triggers trained on the response surface of a model that is only asked: rounds of learning, then of asking.

A round trains all triggers on the surface, where steps cost no query, but only so far from where they were as the
surface can be trusted; then the model is asked under each of them, and at a few points around, and the surface is
fitted anew. Losses, adversaries and the surgery of gradients are those of objectives/objective_step.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.data import Batches, Dataset
from trainer.training.black_box.asked_points import STEP, AskedPoints, coefficients
from trainer.training.black_box.low_frequencies import in_low_frequencies
from trainer.training.objectives.objective_step import Losses, StepConfig, adam, descend
from trainer.training.step import TriggerOptimizer
from triggers.trigger.image_trainable import ImageModule

ROUND_STEPS = 80
"""Steps of a round, unless the configuration says how many there are in all: they cost no query."""
TRUST_STEP = 1.5 * STEP
"""How far a trigger may go from its centre in the first round; in the last one half as far."""
AROUND = {False: 1, True: 9}
"""Points around the triggers that a round asks for: of labels many, since one label says little."""


class SurfaceOptimizer(TriggerOptimizer):
    """K triggers trained on a surface that grows by rounds: as many as the points left allow for, or `rounds`."""

    def __init__(
        self,
        asked: AskedPoints,
        module: ImageModule,
        config: RunConfig,
        temperature: float,
        rounds: int | None = None,
    ) -> None:
        strengths, rows = len(config.objective.fixed_strengths), asked.rows
        possible = asking_rounds(asked, strengths)
        most = possible if rounds is None else min(rounds, possible)
        steps = config.train.steps or ROUND_STEPS * (most + 1)
        self.rounds = min(most, steps - 1)
        self.ends = [steps * (each + 1) // (self.rounds + 1) for each in range(self.rounds + 1)]
        overlapping = config.data.groups_overlap
        step = StepConfig.for_data(rows.data, config.objective, steps, overlapping=overlapping, temperature=temperature)
        train = replace(config.train, graph=False, compile=False, average=0.0)
        super().__init__(rows.classifier, in_low_frequencies(module, asked.frequencies), train, step)
        self.decision, self.asked = rows.decision, asked
        self._trained = coefficients(module)

    def each_step(self) -> Iterator[Losses]:
        """All steps in order. Raises BudgetSpent."""
        rows, train = self.asked.rows, self.train
        size = train.batch_size if self.objective.name == "mmd" else len(rows)
        numbers = rows.data.with_inputs(torch.arange(len(rows))).to(rows.classifier.device)
        steps = range(self.steps)
        for number, batch in zip(steps, Batches(numbers, size, seed=train.seed).each(steps), strict=True):
            yield self.step(number, batch)

    def predictions(self) -> Tensor:
        """What the surface makes of the rows under the present triggers (K, N)."""
        rows = self.asked.rows
        with torch.no_grad():
            logits = self.surface.logits(self._trained.flatten(1), torch.arange(len(rows), device=self._trained.device))
        return rows.decision.labels(logits)

    def step(self, number: int, batch: Dataset) -> Losses:
        """Train all K triggers on the surface's answers to the rows that `batch.inputs` names (B,)."""
        starts = [0, *self.ends[:-1]]
        if number in starts:
            self._refit(starts.index(number))
        return super().step(number, batch)

    def _refit(self, done: int) -> None:
        """Ask where the triggers are, or where they start, and fit the surface anew; the optimiser starts afresh."""
        both_ways = self.asked.rows.labels_only
        if not len(self.asked.points):
            self.asked.start(start_directions(self.asked), both_ways=both_ways)
        if done:
            here = self._trained.detach().flatten(1)
            self.asked.ask(torch.cat([here.cpu(), self.asked.around(here, AROUND[both_ways])]))
        self.surface = self.asked.surface()
        self.centre = self._trained.detach().flatten(1).clone()
        self.reach = TRUST_STEP * (1 - done / (2 * max(self.rounds, 1)))
        self.optimizer = adam(self.parameters, self.train.lr, self.train.weight_decay)

    def _run(self, batch: Dataset) -> tuple[Tensor, Tensor]:
        assert isinstance(batch.inputs, Tensor)
        logits = self.surface.logits(self._trained.flatten(1), batch.inputs)
        leaf = (logits.detach() / self.temperature).requires_grad_()
        losses, cotangents = self.cotangents(leaf, batch)
        found = [
            torch.autograd.grad(logits, self.parameters, cotangent / self.temperature, retain_graph=True)
            for cotangent in cotangents
        ]
        descend(self.optimizer, self.parameters, self.fair_gradients(found))
        self._stay_in_reach()
        return losses.utility, losses.fairness

    def _stay_in_reach(self) -> None:
        with torch.no_grad():
            gone = self._trained.flatten(1) - self.centre
            share = (self.reach / gone.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
            self._trained.copy_((self.centre + gone * share).view_as(self._trained))


def start_directions(asked: AskedPoints) -> int:
    """Directions of the first design: all there are, but less than half of the points that may be asked."""
    ways = 2 if asked.rows.labels_only else 1
    return max(1, min(asked.numbers, (asked.left // 2 - 1) // ways))


def asking_rounds(asked: AskedPoints, strengths: int) -> int:
    """Rounds that the points left allow for, after the first design where it is still to come."""
    ways = 2 if asked.rows.labels_only else 1
    start = 0 if len(asked.points) else 1 + ways * start_directions(asked)
    return max(0, (asked.left - start) // (strengths + AROUND[asked.rows.labels_only]))
