"""Training of a run's triggers from first to last: one run, or a cross-fitted one with a run per fold."""

from __future__ import annotations

from pathlib import Path

from trainer.config import RunConfig
from trainer.data import Splits
from trainer.distributed import ProcessGroup, deterministic_algorithms
from trainer.evaluation import TrainingResult
from trainer.progress import Progress
from trainer.training.black_box import train_asked
from trainer.training.crossfit import train_folds
from trainer.training.final_evaluation import final_result
from trainer.training.strength_search import prepare_run, with_search
from trainer.training.validation_history import ValidationHistory
from triggers.model import FrozenClassifier


def train_triggers(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None = None,
    process_group: ProcessGroup | None = None,
) -> TrainingResult:
    """Train the triggers of a run, cross-fitted if `select.folds` is more than 1.

    With a checkpoint `path`, go on where a killed run stopped. Raises ConfigError.
    """
    with deterministic_algorithms(classifier.device, config.train.threads):
        if config.asks:
            return train_asked(config, classifier, splits, progress)
        if config.select.folds > 1:
            return train_folds(config, classifier, splits, progress, path, process_group).result()
        run, search = prepare_run(config, classifier, splits, progress, path, process_group)
        history = ValidationHistory(run.optimizer.average)
        run.train(history, path)
        result = final_result(run, run.val_rows, history.predictions, history.restore_module, history.steps)
        return with_search(result, search)
