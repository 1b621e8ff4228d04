"""A training from answers alone: the frozen model is asked, within a budget of queries, and never looked into.

Nothing is saved on the way but the answers: the same run takes the same way, and what was answered is not asked again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.data import Splits, place_on_device
from trainer.distributed import ProcessGroup
from trainer.evaluation import TrainingResult
from trainer.evaluation.balanced_accuracy import mean_recall
from trainer.evaluation.counts import count_predictions, predicted_labels
from trainer.evaluation.strength_range import TRIED, StrengthSearch, useful_range
from trainer.evaluation.validation_rows import ValidationRows
from trainer.progress import Progress
from trainer.queries import BudgetSpent, QueryMeter, ask_through, asked_for, meter_of
from trainer.training.black_box.asked_points import AskedPoints
from trainer.training.black_box.asked_rows import AskedRows, representative_rows
from trainer.training.black_box.query_plan import plan_queries, plan_sentence
from trainer.training.black_box.surface_optimizer import SurfaceOptimizer
from trainer.training.black_box.word_search import AskedWords, WordSearch
from trainer.training.black_box.word_triggers import TriggerVocabulary
from trainer.training.build_module import build_module
from trainer.training.final_evaluation import final_result
from trainer.training.objectives.objective_step import FINETUNE_REPORT_EVERY, Losses
from trainer.training.strength_search import trial_of, with_search
from trainer.training.tracked_training import TrackedTraining
from trainer.training.validation_history import ValidationHistory
from triggers.errors import ConfigError
from triggers.model import Bank, FrozenClassifier

MOST_FREQUENCIES = 16
"""Cosines per channel of an image trigger, where the budget pays for more."""
SEARCH_ROUNDS = 2
"""Rounds of asking in which open strengths are searched for."""


class Learner(Protocol):
    """What learns K triggers by asking: `each_step` does it, `ends` are the steps after which they are complete."""

    steps: int
    temperature: float
    ends: list[int]

    @property
    def average(self) -> Any:
        """The module of the present triggers."""
        ...

    def each_step(self) -> Iterator[Losses]:
        """All steps in order. Raises BudgetSpent."""
        ...

    def predictions(self) -> Tensor:
        """What the present triggers make of the asked rows (K, N), as far as answers tell."""
        ...


class AskedRun:
    """One training by asking, over splits that are placed on their devices. Raises ConfigError."""

    def __init__(self, config: RunConfig, classifier: FrozenClassifier, splits: Splits, progress: Progress) -> None:
        self.config, self.progress, self.process_group = config, progress, ProcessGroup()
        parts = {"tuning": splits.tuning, "val": splits.val, "test": splits.test}
        self.plan = plan_queries(config, {name: len(part) for name, part in parts.items()})
        self.meter = meter_of(classifier) or QueryMeter(self.plan.budget, config.train.price_per_thousand)
        self.classifier = classifier if meter_of(classifier) else ask_through(classifier, self.meter, None)
        self.meter.reserved["test"] = self.plan.test
        self.counter = self.classifier
        placed = place_on_device(parts, classifier.device, config.train.device_memory_gb, progress)
        self.tuning, self.val, self.test = placed
        labels_only, batch = config.objective.gradient == "labels", config.train.batch_size
        chosen = representative_rows(self.tuning, self.plan.rows, config.train.seed)
        asked = self.tuning.take(chosen.to(self.tuning.labels.device))
        self.rows = AskedRows(self.classifier, asked, labels_only=labels_only, batch=batch)
        bare = self.predict_val(self.classifier.bank([self.classifier.null_trigger()]))[0]
        self.val_rows = ValidationRows.of(self.val, bare, overlapping=config.data.groups_overlap)
        self.temperature = self.rows.temperature() if config.objective.calibrate else 1.0
        self._answers = self._opened()
        self.learner: Learner
        self.seconds, self.steps = 0.0, 0
        self.asked_at: list[int] = []
        progress.note(plan_sentence(config, self.plan))

    @property
    def optimizer(self) -> Learner:
        """The learner, by the name that other trainings give it."""
        return self.learner

    def predict_val(self, bank: Bank) -> Tensor:
        """Predictions of the validation part (V, N) under every trigger of a bank. Raises BudgetSpent."""
        with asked_for(self.classifier, "validation"):
            return predicted_labels(self.counter, self.val, bank, self.config.train.batch_size)

    def prepare(self, config: RunConfig, *, search: bool = False) -> None:
        """Start K triggers anew at the strengths of a configuration; what was answered so far is known to them."""
        self.config = config
        self.learner = self._learner(config, search=search)
        self.steps = self.learner.steps

    def train(self, history: ValidationHistory | None, title: str) -> None:
        """All steps, with validations for the history. A spent budget ends them: what there is by then is kept."""
        began, learner = time.monotonic(), self.learner
        validated = _spread(learner.ends, self.plan.validations)
        advice = f"lower train.lr ({self.config.train.lr:g}) or objective.strengths."
        prefix = "" if history else "search/"
        tracked = TrackedTraining(self.progress, self.config, self.classifier, self.val_rows, prefix)
        with self.progress.task(title, learner.steps) as task:
            self.meter.watch = lambda: task.advance(0, **self.meter.shown())
            try:
                for number, losses in enumerate(learner.each_step(), 1):
                    tracked.log_losses(number, losses)
                    if history and number in validated:
                        with torch.no_grad():
                            bank = learner.average.render()
                        history.offer(
                            number,
                            lambda at=number, bank=bank: tracked.validated(at, self.predict_val(bank)),  # type: ignore[misc]
                        )
                        self.asked_at.append(self.meter.spent["tuning"])
                    shown = number % FINETUNE_REPORT_EVERY == 0 or number in learner.ends
                    means = losses.means("Training", number, advice) if shown and history else {}
                    task.advance(1, **means)
            except BudgetSpent as spent:
                if history and not history.steps:
                    raise ConfigError(f"{spent} Nothing was validated yet: raise train.max_queries.") from spent
                self.progress.note(f"{spent} Training ends here, with the best of what was validated.")
        self.meter.watch = None
        tracked.flush()
        self.seconds += time.monotonic() - began

    def _opened(self) -> AskedPoints | AskedWords:
        """The answers that all learners of the run share."""
        config, plan = self.config, self.plan
        if self.classifier.spec.image:
            one = replace(config, objective=replace(config.objective, strengths=(0.0,)))
            most = config.trigger.frequencies or min(MOST_FREQUENCIES, max(1, plan.points // 4))
            module: Any = build_module(one, self.classifier)
            return AskedPoints(self.rows, module, most, plan.points, config.train.seed)
        words = TriggerVocabulary.of(self.classifier, config.trigger, self.tuning)
        return AskedWords(self.rows, words, plan.tuning - len(self.rows))

    def _learner(self, config: RunConfig, *, search: bool) -> Learner:
        overlapping, asked = config.data.groups_overlap, self._answers
        if isinstance(asked, AskedWords):
            left = asked.left // 2 if search else asked.left
            return WordSearch(
                asked, config.objective, config.trigger.tokens, self.temperature, overlapping=overlapping, left=left
            )
        rounds = SEARCH_ROUNDS if search else None
        module: Any = build_module(config, self.classifier)
        return SurfaceOptimizer(asked, module, config, self.temperature, rounds)


def train_asked(config: RunConfig, classifier: FrozenClassifier, splits: Splits, progress: Progress) -> TrainingResult:
    """Train the triggers of a run by asking. Raises ConfigError."""
    run, search = AskedRun(config, classifier, splits, progress), None
    if config.objective.strengths == "auto":
        run.prepare(replace(config, objective=replace(config.objective, strengths=TRIED)), search=True)
        run.train(None, "search strengths")
        search = _searched(run)
        progress.note(search.note)
        config = replace(config, objective=replace(config.objective, strengths=search.strengths))
    run.prepare(config)
    history = ValidationHistory(run.learner.average)
    run.train(history, "train triggers")
    with asked_for(run.classifier, "test"):
        result = final_result(run, run.val_rows, history.predictions, history.restore_module, history.steps)
    return with_search(replace(result, queries=_record(run, history, result)), search)


def _searched(run: AskedRun) -> StrengthSearch:
    """The useful strengths, by what the triggers of the tried ones make of the asked rows."""
    data = run.rows.data.to("cpu")
    tables = [count_predictions(data, each) for each in run.learner.predictions().cpu()]
    bare = count_predictions(data, run.rows.decision.labels(run.rows.bare).cpu())
    trials = tuple(trial_of(run.config, run.classifier, s, each) for s, each in zip(TRIED, tables, strict=True))
    found = useful_range(trials, bare=mean_recall(bare), rows=len(data), labels=len(run.classifier.labels))
    return StrengthSearch(trials, found, found.strengths(len(TRIED)), run.steps, run.seconds)


def _record(run: AskedRun, history: ValidationHistory, result: TrainingResult) -> dict[str, Any]:
    """The queries of a finished run as JSON values, with the curve of gaps on validation over rows asked for tuning."""
    assert result.judge
    curve = []
    for step, spent, predictions in zip(history.steps, run.asked_at, history.predictions, strict=True):
        scores = [result.judge.score(each) for each in predictions]
        gaps, losses = [each.gap for each in scores], [each.loss for each in scores]
        curve.append({"step": step, "queries": spent, "gaps": gaps, "losses": losses})
    return {
        "gradient": run.config.objective.gradient,
        **run.meter.record(),
        "rows": len(run.rows),
        "strengths": list(run.config.objective.fixed_strengths),
        "bare_gap": result.judge.criterion.bare.gap,
        "curve": curve,
    }


def _spread(ends: list[int], count: int) -> set[int]:
    """At most `count` of the steps in `ends`, evenly spread, the last among them."""
    count = min(count, len(ends))
    return {ends[-(-len(ends) * (each + 1) // count) - 1] for each in range(count)}
