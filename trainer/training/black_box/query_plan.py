"""The plan of a run's queries: what validation and test will ask, and what that leaves for learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.config import RunConfig
from trainer.evaluation.strength_range import TRIED
from triggers.errors import ConfigError

DEFAULT_QUERIES = 200_000
VALIDATION_SHARE = 0.15
"""Share of the budget that validations may take, at most, unless train.eval_every says how many there are."""
WANTED_POINTS = {"scores": 64, "labels": 250}
"""Triggers that every tuning row is asked under, where the budget allows for that; rows are left out until it does."""
FEWEST_POINTS = 16
FEWEST_ROWS = 200


@dataclass(frozen=True)
class QueryPlan:
    """Rows that are asked at most: all, of validation, of test; `rows` of tuning, bare and under `points` triggers.

    `validations`: how often the validation part is asked under every strength's trigger.
    """

    budget: int
    validation: int
    test: int
    rows: int
    points: int
    validations: int

    @property
    def tuning(self) -> int:
        """Rows that learning may ask."""
        return self.budget - self.validation - self.test


def plan_queries(config: RunConfig, sizes: Mapping[str, int]) -> QueryPlan:
    """The plan of a run over parts of these sizes (tuning, val, test). Raises ConfigError for too small a budget."""
    budget = config.train.max_queries or DEFAULT_QUERIES
    strengths = len(TRIED) if config.objective.strengths == "auto" else len(config.objective.strengths)
    validations = _validations(config, budget, strengths * sizes["val"])
    validation, test = sizes["val"] * (1 + strengths * validations), sizes["test"] * (1 + strengths)
    left, gradient = budget - validation - test, config.objective.gradient
    rows = min(sizes["tuning"], max(FEWEST_ROWS, left // WANTED_POINTS[gradient or "scores"]))
    points = max(left, 0) // rows - 1  # the bare model is asked too
    fewest = FEWEST_POINTS + 2 * strengths
    if points < fewest:
        learning = (fewest + 1) * rows
        needed = f"{validation} for validation, {test} for test and {learning} for tuning"
        raise ConfigError(
            f"train.max_queries is {budget}; this run needs {validation + test + learning} at least ({needed}): "
            "raise it, or ask for fewer objective.strengths or a smaller split.val and split.test."
        )
    return QueryPlan(budget, validation, test, rows, points, validations)


def plan_sentence(config: RunConfig, plan: QueryPlan) -> str:
    """What a run asks at most, and what that costs where a price is known."""
    price = config.train.price_per_thousand
    money = f", {plan.budget * price / 1000:.2f} {config.report.currency}" if price else ""
    return (
        f"Asking: {plan.budget} rows at most{money}: {plan.validation} for validation, {plan.test} for test, the rest"
        f" for {plan.rows} tuning rows (train.max_queries)."
    )


def _validations(config: RunConfig, budget: int, rows: int) -> int:
    """How often a run validates, at `rows` rows each."""
    train = config.train
    if train.eval_every and train.steps:
        return -(-train.steps // train.eval_every)
    return min(10, max(2, int(VALIDATION_SHARE * budget) // max(rows, 1)))
