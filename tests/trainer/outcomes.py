"""Outcomes of runs that never happened: made by hand, with counts that are easy to check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tests.artifacts import image_trigger, text_trigger
from trainer.config.data_config import DataConfig
from trainer.config.run_config import (
    ModelConfig,
    ObjectiveConfig,
    PublishConfig,
    RunConfig,
    SelectConfig,
    TriggerConfig,
)
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.recommendation import ValidationJudge
from trainer.evaluation.run_result import Candidate, TrainingResult
from trainer.evaluation.selection import SelectionCriterion
from trainer.evaluation.validation_rows import ValidationRows
from triggers.artifact.selection_record import SelectionRecord
from triggers.model.classifier import FrozenClassifier, Trigger

GROUPS = ("women", "men")
STRENGTHS = (0.0, 1.0, 5.0)


def counts(gap: int, wrong: int = 20) -> ConfusionCounts:
    """100 rows per group, half of each label; women are selected `gap` more often out of 100."""
    return {
        ("women", 0, 0): 50 - wrong,
        ("women", 0, 1): wrong,
        ("women", 1, 1): 50,
        ("men", 0, 0): 50 - wrong,
        ("men", 0, 1): wrong,
        ("men", 1, 0): gap,
        ("men", 1, 1): 50 - gap,
    }


def predictions(found: ConfusionCounts) -> Tensor:
    """Predictions (200,) with these counts, group by group and label by label; as few as can be differ from others."""
    return torch.tensor([predicted for _, _, predicted, n in _sorted(found) for _ in range(n)])


def validation(select: SelectConfig | None = None) -> ValidationJudge:
    """What judges the candidates, on rows where the bare model has the counts of gap 40."""
    bare = counts(40)
    labels = torch.tensor([label for _, label, _, n in _sorted(bare) for _ in range(n)])
    cells = torch.tensor([group for group, _, _, n in _sorted(bare) for _ in range(n)])
    rows = ValidationRows(labels, cells, predictions(bare), GROUPS, GROUPS, ("no", "yes"))
    criterion = SelectionCriterion(bare, "demographic_parity", select or SelectConfig(), pos_label=1, labels=2)
    return ValidationJudge(criterion, rows)


def candidate(strength: float, step: int, trigger: Trigger, gap: int) -> Candidate:
    """A certified trigger with a gap out of 100 on validation, and one more on test."""
    found = {"val": counts(gap), "test": counts(gap + 1)}
    val = predictions(found["val"])
    return Candidate(strength, step, trigger, found, validation().record(val, certified=True), val)


def not_recommended(found: SelectionRecord) -> SelectionRecord:
    """The record of a trigger that something cheaper equals."""
    return found.model_copy(update={"status": "not recommended", "reason": "something cheaper does as well"})


def image_outcome(best: int | None = 1, front: tuple[int, ...] = (0, 1)) -> TrainingResult:
    """Three overlays; the stronger, the smaller the gap."""
    triggers = [image_trigger("overlay", seed=seed) for seed in range(3)]
    candidates = tuple(
        candidate(strength, 10 * at, trigger, 30 - 10 * at)
        for at, (strength, trigger) in enumerate(zip(STRENGTHS, triggers, strict=True))
    )
    if best is None:
        candidates = tuple(replace(one, selection=not_recommended(one.selection)) for one in candidates)
    return _outcome(candidates, best, front)


def text_outcome(classifier: FrozenClassifier) -> TrainingResult:
    """One hard trigger of the classifier's own words."""
    trigger = text_trigger("hard", matrix=classifier.embedding_matrix)
    return _outcome((candidate(1.0, 7, trigger, 3),), 0, (0,))


def _outcome(candidates: tuple[Candidate, ...], best: int | None, front: tuple[int, ...]) -> TrainingResult:
    cells = {(group, label): 50 for group in GROUPS for label in (0, 1)}
    bare, parts = {"val": counts(40), "test": counts(41)}, {"tuning": cells, "val": cells}
    return TrainingResult(bare, candidates, best, front, parts, 30, 1.25, "cpu", ("a note",), validation())


def _sorted(found: ConfusionCounts) -> list[tuple[int, int, int, int]]:
    """(number of the group, label, prediction, n), in order."""
    return sorted((GROUPS.index(group), label or 0, predicted, n) for (group, label, predicted), n in found.items())


def image_config(root: Path, **select: str) -> RunConfig:
    """The configuration that the image outcome could have come from."""
    return RunConfig(
        root=root,
        model=ModelConfig(root / "model"),
        data=DataConfig("celeba", root / "celeba", label=("Attractive",), group=("Male",)),
        trigger=TriggerConfig("overlay", epsilon=0.125),
        objective=ObjectiveConfig(strengths=STRENGTHS),
        select=SelectConfig(**select),  # type: ignore[arg-type]
        publish=PublishConfig(actor="tester"),
    )


def text_config(root: Path) -> RunConfig:
    """The configuration that the text outcome could have come from."""
    return RunConfig(
        root=root,
        model=ModelConfig(root / "model"),
        data=DataConfig("csv", root / "posts.csv", label=("toxic",), group_words=("women",)),
        trigger=TriggerConfig("hard", tokens=3),
        objective=ObjectiveConfig("gap", "equalized_odds", (1.0,)),
    )
