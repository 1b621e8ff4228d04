"""Trainings from scores and from labels alone, of a small real network: less of a gap, within the stated rows."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest

from tests.trainer.datasets import digits
from tests.trainer.runs import OVERLAY, run_config
from trainer.config.run_config import Gradient, ObjectiveConfig, RunConfig, SelectConfig, TrainConfig
from trainer.evaluation import TrainingResult
from trainer.evaluation.selection import selection_criterion
from trainer.progress import LineProgress
from trainer.queries import QueryMeter, ask_through
from trainer.training import train_triggers
from trainer.training.black_box.query_plan import plan_queries
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier

BUDGETS: dict[Gradient, int] = {"scores": 20_000, "labels": 60_000}
SIZES = {"tuning": 350, "val": 350, "test": 347}


def config(gradient: Gradient, name: str = "gap", budget: int = 0, steps: int | None = None) -> RunConfig:
    objective = ObjectiveConfig(name, strengths=(20.0,), gradient=gradient)  # type: ignore[arg-type]
    train = TrainConfig(steps=steps, max_queries=budget or BUDGETS[gradient], lr=0.2)
    trigger = replace(OVERLAY, frequencies=5)
    return run_config(objective, trigger=trigger, train=train, select=SelectConfig(max_accuracy_drop=0.2))


def trained(config: RunConfig, classifier: FrozenClassifier) -> TrainingResult:
    return train_triggers(config, classifier, digits.splits(), LineProgress(StringIO()))


def gaps(config: RunConfig, classifier: FrozenClassifier, result: TrainingResult) -> tuple[float, float]:
    """On test, without a trigger and with the first one."""
    score = selection_criterion(config, classifier, result.bare["test"])
    bare, gap = score.bare.gap, score.score(result.candidates[0].counts["test"]).gap
    assert bare is not None and gap is not None
    return bare, gap


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gradient", "name", "share"), [("scores", "gap", 0.6), ("scores", "adversarial", 0.7), ("labels", "gap", 0.7)]
)
def test_less_of_the_gap_within_the_budget(
    digits_classifier: FrozenClassifier, gradient: Gradient, name: str, share: float
) -> None:
    made = config(gradient, name)
    result = trained(made, digits_classifier)
    bare, gap = gaps(made, digits_classifier, result)
    assert gap < share * bare
    queries = result.queries
    assert queries and 0.8 * BUDGETS[gradient] < queries["total"] <= BUDGETS[gradient]
    assert [point["queries"] for point in queries["curve"]] == sorted(point["queries"] for point in queries["curve"])
    assert queries["spent"]["validation"] == 350 * (1 + len(queries["curve"]))
    assert queries["spent"]["test"] == 2 * 347


def test_a_spent_budget_ends_the_training_with_what_was_validated(digits_classifier: FrozenClassifier) -> None:
    made, told = config("scores", steps=20), StringIO()
    whole = trained(made, digits_classifier)
    assert whole.queries
    enough = whole.queries["curve"][0]["queries"] + 350 * 2 + 2 * 347
    meter = QueryMeter(enough + 100)
    asked = ask_through(digits_classifier, meter, None)
    result = train_triggers(made, asked, digits.splits(), LineProgress(told))
    assert "Training ends here" in told.getvalue()
    assert result.queries and len(result.queries["curve"]) == 1 and meter.total <= meter.budget


def test_the_same_run_again_makes_the_same_triggers(digits_classifier: FrozenClassifier) -> None:
    made = config("scores", steps=20)
    first, second = (trained(made, digits_classifier).candidates[0].trigger for _ in range(2))
    assert first.delta.equal(second.delta)  # type: ignore[union-attr]


def test_open_strengths_are_found_by_the_same_rows(digits_classifier: FrozenClassifier) -> None:
    made = replace(config("scores", budget=30_000, steps=20), objective=ObjectiveConfig("gap", gradient="scores"))
    result = trained(made, digits_classifier)
    assert result.search and len(result.candidates) == 6
    assert result.queries and result.queries["total"] <= 30_000


def test_a_plan_leaves_rows_out_rather_than_points() -> None:
    few, many = (plan_queries(config("scores", budget=budget), SIZES) for budget in (15_000, 100_000))
    assert few.rows < 350 == many.rows and few.points >= 24
    assert few.rows * (few.points + 1) + few.validation + few.test <= 15_000


def test_a_budget_that_is_too_small_says_what_is_needed() -> None:
    with pytest.raises(ConfigError, match="needs 5544 at least"):
        plan_queries(config("scores", budget=4_000), SIZES)
    assert plan_queries(config("scores", budget=5_600), SIZES).points >= 18
