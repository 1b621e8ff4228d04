"""A piece of the lab: a candidate trained on a run's data, picked on validation by the product's rule, told on test."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from benchmarks.candidates.candidate import Candidate
from benchmarks.candidates.optimizer import CandidateOptimizer
from benchmarks.candidates.recipes import Recipe
from trainer.config import RunConfig
from trainer.data import Batches, Dataset, Splits
from trainer.distributed import ProcessGroup, deterministic_algorithms
from trainer.evaluation.counts import chunks, count_predictions
from trainer.evaluation.selection import SelectionCriterion, ValidationScore, ValidationSnapshot, best_of
from trainer.evaluation.selection import selection_criterion as criterion_of
from trainer.progress import Progress
from trainer.training.objectives.objective_step import FINETUNE_REPORT_EVERY, StepConfig
from trainer.training.training_loop import TrainingRun
from trainer.training.validation_history import ValidationHistory
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier

Record: TypeAlias = dict[str, Any]
BUDGETS = (0.01, 0.04)
TIMED_ROWS, TIMED_PASSES = 64, 7
YARDSTICKS = {"image": "overlay", "text": "soft"}
"""The kind of trigger that a run has to name, by modality; candidates take its size from there."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A candidate with its validations; `at` puts it back to one of them."""

    candidate: Candidate
    history: ValidationHistory
    seconds: float

    def at(self, place: int) -> Candidate:
        """All strengths as they were at a validation."""
        count = len(self.history.predictions[place])
        self.history.restore_module([place] * count)
        return self.candidate


class Lab:
    """The data, the measured bare model and the judges that all candidates of a run share."""

    def __init__(self, config: RunConfig, classifier: FrozenClassifier, splits: Splits, progress: Progress) -> None:
        check(config)
        self.config, self.classifier, self.progress = config, classifier, progress
        with deterministic_algorithms(classifier.device, config.train.threads):
            self.run = TrainingRun.prepare(config, classifier, splits, progress)
        rows = self.run.val_rows
        self.judges = {budget: _judge(config, budget, classifier, rows.counts(rows.bare)) for budget in BUDGETS}

    def record(self, name: str, recipe: Recipe) -> Record:
        """Train, pick and tell one candidate."""
        with deterministic_algorithms(self.classifier.device, self.config.train.threads):
            trained = self.train(name, recipe)
            told = self.told(trained)
        alone = replace(recipe.config(self.config), objective=replace(self.config.objective, strengths=(1.0,)))
        candidate = recipe.build(alone, self.classifier, self.run.tuning)
        return {
            "candidate": name,
            "criterion": self.config.objective.criterion,
            "numbers": sum(parameter.numel() for parameter in candidate.parameters()),
            "passes": len(candidate.views),
            "milliseconds": self._milliseconds(lambda inputs: candidate.logits(self.run.counter, inputs)),
            "seconds": round(trained.seconds, 1),
            "steps": self.run.steps if recipe.trained else 0,
            "device": _device_name(self.classifier.device),
            **told,
        }

    def train(self, name: str, recipe: Recipe) -> Trained:
        """All steps, validated as often as the product does."""
        config, run = recipe.config(self.config), self.run
        candidate = recipe.build(config, self.classifier, run.tuning)
        history, began = ValidationHistory(candidate), time.monotonic()
        if not recipe.trained:
            history.offer(0, lambda: self.predictions(candidate, run.val))
            return Trained(candidate, history, 0.0)
        overlapping, temperature = config.data.groups_overlap, run.optimizer.temperature
        step = StepConfig.for_data(
            run.tuning, config.objective, run.steps, overlapping=overlapping, temperature=temperature
        )
        optimizer = CandidateOptimizer(self.classifier, candidate, config.train, step)
        every = config.train.eval_every or max(1, run.steps // 10)
        with self.progress.task(name, run.steps) as task:
            for number, batch in enumerate(self._batches(config).each(range(run.steps))):
                losses, done = optimizer.step(number, batch), number + 1
                if done % every == 0 or done == run.steps:
                    history.offer(done, lambda: self.predictions(candidate, run.val))
                shown = done % FINETUNE_REPORT_EVERY == 0
                task.advance(1, **(losses.means(name, done, "lower train.lr.") if shown else {}))
        return Trained(candidate, history, time.monotonic() - began)

    def predictions(self, candidate: Candidate, data: Dataset) -> Tensor:
        """Predicted labels (K, N) in the order of the data, on the CPU."""
        counter, found = self.run.counter, []
        order = list(chunks(data, self.config.train.batch_size, ProcessGroup()))
        with torch.no_grad():
            for index in order:
                inputs = data.take(index).to(counter.device).inputs
                found.append(counter.decision.labels(candidate.logits(counter, inputs)).cpu())
        return torch.cat(found, dim=1)[:, torch.cat(order).cpu().argsort()]

    def told(self, trained: Trained) -> Record:
        """The bare model, and what validation picks at each budget: figures on both parts."""
        run, history = self.run, trained.history
        tried = [(place, k) for place, found in enumerate(history.predictions) for k in range(len(found))]
        counted = [run.val_rows.counts(history.predictions[place][k]) for place, k in tried]
        bare = Recipe().build(self.config, self.classifier, run.tuning)
        bare_test = count_predictions(run.test, self.predictions(bare, run.test)[0].to(run.test.labels.device))
        on_test = _judge(self.config, BUDGETS[0], self.classifier, bare_test)
        picks = []
        for budget, judge in self.judges.items():
            steps = [history.steps[place] for place, _ in tried]
            snapshots = [
                ValidationSnapshot(step, one, judge.score(one)) for step, one in zip(steps, counted, strict=True)
            ]
            best = best_of(judge, snapshots)
            if best is None:
                picks.append({"budget": budget, "kept": False, "test": _figures(on_test.bare)})
                continue
            place, k = tried[best]
            predicted = self.predictions(trained.at(place), run.test)[k]
            score = on_test.score(count_predictions(run.test, predicted.to(run.test.labels.device)))
            picks.append(
                {
                    "budget": budget,
                    "kept": True,
                    "strength": self._strength(trained, k),
                    "step": history.steps[place],
                    "val": _figures(snapshots[best].score),
                    "test": _figures(score),
                }
            )
        val_bare = next(iter(self.judges.values())).bare
        return {"bare": {"val": _figures(val_bare), "test": _figures(on_test.bare)}, "picks": picks}

    def _strength(self, trained: Trained, k: int) -> float | None:
        strengths = self.config.objective.fixed_strengths
        return strengths[k] if len(trained.history.predictions[0]) == len(strengths) else None

    def _batches(self, config: RunConfig) -> Batches:
        train = config.train
        return Batches(
            self.run.tuning,
            train.batch_size,
            seed=train.seed,
            flip=train.flip,
            shift=train.shift,
            pieces=4,
            device=self.classifier.device,
        )

    def _milliseconds(self, run: Callable[[Any], Tensor]) -> float:
        """Least time of a pass over TIMED_ROWS inputs under one version, after one to warm up."""
        data, device = self.run.test, self.classifier.device
        inputs = data.take(torch.arange(min(TIMED_ROWS, len(data)), device=data.labels.device)).to(device).inputs
        found = []
        with torch.inference_mode():
            for _ in range(1 + TIMED_PASSES):
                began = time.perf_counter()
                run(inputs).cpu()
                found.append(1000 * (time.perf_counter() - began))
        return round(min(found[1:]), 3)


def check(config: RunConfig) -> None:
    """Refuse a run whose trigger is not the yardstick, or whose strengths are open. Raises ConfigError."""
    wanted = YARDSTICKS[config.modality]
    if config.trigger.kind != wanted:
        raise ConfigError(f"The lab's yardstick is {wanted!r}: add --set trigger.kind={wanted}.")
    assert config.objective.fixed_strengths


def _judge(
    config: RunConfig, budget: float, classifier: FrozenClassifier, bare: Mapping[tuple[str, int | None, int], int]
) -> SelectionCriterion:
    select = replace(config.select, max_accuracy_drop=budget)
    return criterion_of(replace(config, select=select), classifier, bare)


def _figures(score: ValidationScore) -> Record:
    """Accuracy, gap, loss of the selection's measure against the bare model, lowest ratio of recalls."""
    return {"accuracy": score.accuracy, "gap": score.gap, "loss": score.loss, "recall_ratio": score.recall_ratio}


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
