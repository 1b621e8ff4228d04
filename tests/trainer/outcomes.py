"""Outcomes of runs that never happened: made by hand, with counts that are easy to check."""

from __future__ import annotations

from pathlib import Path

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
from trainer.evaluation.run_result import Candidate, ConfusionCounts, TrainingResult
from triggers.model.classifier import FrozenClassifier

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


def image_outcome(best: int | None = 1, front: tuple[int, ...] = (0, 1)) -> TrainingResult:
    """Three overlays; the stronger, the smaller the gap."""
    triggers = [image_trigger("overlay", seed=seed) for seed in range(3)]
    candidates = tuple(
        Candidate(strength, 10 * at, trigger, {"val": counts(30 - 10 * at), "test": counts(31 - 10 * at)})
        for at, (strength, trigger) in enumerate(zip(STRENGTHS, triggers, strict=True))
    )
    return _outcome(candidates, best, front)


def text_outcome(classifier: FrozenClassifier) -> TrainingResult:
    """One hard trigger of the classifier's own words."""
    trigger = text_trigger("hard", matrix=classifier.embedding_matrix)
    return _outcome((Candidate(1.0, 7, trigger, {"val": counts(3), "test": counts(4)}),), 0, (0,))


def _outcome(candidates: tuple[Candidate, ...], best: int | None, front: tuple[int, ...]) -> TrainingResult:
    cells = {(group, label): 50 for group in GROUPS for label in (0, 1)}
    bare = {"val": counts(40), "test": counts(41)}
    return TrainingResult(bare, candidates, best, front, {"tuning": cells, "val": cells}, 30, 1.25, "cpu", ("a note",))


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
