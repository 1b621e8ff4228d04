"""The guard's rules: validated limits that an operator writes into the rollout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

METRICS = (
    "demographic_parity_difference", "equal_opportunity_difference", "false_positive_rate_difference",
    "equalized_odds_difference", "accuracy_difference",
)  # fmt: skip
ACTIONS = ("rollback", "alarm")
LIMIT_FIELDS = ("max_disparity", "worse_by", "accuracy_loss")


@dataclass(frozen=True)
class GuardRules:
    """Limits on a model's versions; a limit that is None is not tested.

    `alpha` is the probability of any false alarm during one revision of the rollout, over all tests and checks.
    `max_disparity` bounds `metric` itself; `worse_by` how much larger it may be than for the champion (of a challenger)
    or for the bare model on the same inputs (of a champion with twins); `accuracy_loss` likewise. `attributes` compares
    groups like `sex=female,age=old` by these attributes only. Raises ValueError.
    """

    alpha: float = 0.05
    metric: str = METRICS[0]
    max_disparity: float | None = None
    worse_by: float | None = None
    accuracy_loss: float | None = None
    attributes: tuple[str, ...] = ()
    action: str = "rollback"

    def __post_init__(self) -> None:
        if not (_number(self.alpha) and 0 < self.alpha < 1):
            raise _bad(f"alpha is {self.alpha!r}; give a number between 0 and 1, such as 0.05")
        if self.metric not in METRICS:
            raise _bad(f"metric is {self.metric!r}; use one of {', '.join(METRICS)}")
        if self.action not in ACTIONS:
            raise _bad(f"action is {self.action!r}; use one of {', '.join(ACTIONS)}")
        for name in LIMIT_FIELDS:
            limit = getattr(self, name)
            if limit is not None and not (_number(limit) and 0 <= limit < 1):
                raise _bad(f"{name} is {limit!r}; give a number from 0 up to 1")
        if all(getattr(self, name) is None for name in LIMIT_FIELDS):
            raise _bad(f"it sets no limit; give at least one of {', '.join(LIMIT_FIELDS)}")

    @classmethod
    def from_dict(cls, document: object) -> GuardRules:
        """From the `guard` object of a rollout or of the settings. Raises ValueError."""
        if not isinstance(document, Mapping):
            raise _bad(f"it is {document!r}; give an object")
        if unknown := set(document) - {each.name for each in fields(cls)}:
            raise _bad(f"it has unknown fields {sorted(unknown)}")
        attributes = document.get("attributes", ())
        if not (isinstance(attributes, list | tuple) and all(isinstance(each, str) for each in attributes)):
            raise _bad(f"attributes is {attributes!r}; give a list of names")
        return cls(**{**document, "attributes": tuple(attributes)})


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bad(what: str) -> ValueError:
    return ValueError(f"The guard cannot be: {what}.")
