"""The outcome of a trigger's selection: whether validation proved that it costs no more than its budget."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, Field, model_validator

MAX_WORDS = 1000
SelectionStatus: TypeAlias = Literal["certified", "promising", "not recommended"]
SelectionMeasure: TypeAlias = Literal["accuracy", "balanced_accuracy", "recall"]


def _one_line(text: str) -> str:
    """The text on one line of bounded length, whatever the names in it hold: it is shown in terminals."""
    plain = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())
    return plain if len(plain) <= MAX_WORDS else plain[: MAX_WORDS - 3].rstrip() + "..."


_Words = Annotated[str, AfterValidator(_one_line)]
_Loss = Annotated[float, Field(ge=-1, le=1)]
_Ratio = Annotated[float, Field(ge=0, le=1e9)]
_Rows = Annotated[int, Field(ge=0, le=10**12)]


class SelectionRecord(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The outcome of a trigger's selection on validation; `measure` is what budget, loss and bound are in.

    `loss` is bare less triggered (negative: a gain) and `bound` its upper confidence bound at 1 - `delta`.
    `lowest_recall` names the class and group whose recall fell most beside the bare model's, and
    `lowest_recall_ratio` is what is left of it; `min_recall_ratio` is the floor under that ratio.
    `rows_needed` is how many validation rows would prove a promising trigger; None beyond a trillion.
    """

    status: SelectionStatus
    measure: SelectionMeasure
    budget: Annotated[float, Field(ge=0, le=1)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    rows: _Rows
    loss: _Loss
    bound: float | None = None
    rows_needed: _Rows | None = None
    min_recall_ratio: _Ratio | None = None
    lowest_recall_ratio: _Ratio | None = None
    lowest_recall: _Words | None = None
    reason: _Words

    @model_validator(mode="after")
    def _earned(self) -> Self:
        """Refuse a word that the figures beside it contradict."""
        if self.status == "certified" and (self.bound is None or self.bound > self.budget):
            raise ValueError(f"certified needs a bound within the budget of {self.budget}, not {self.bound}")
        if self.status == "promising" and self.loss > self.budget:
            raise ValueError(f"promising needs a loss within the budget of {self.budget}, not {self.loss}")
        if self.status != "promising" and self.rows_needed is not None:
            raise ValueError(f"rows_needed is for promising triggers, this one is {self.status}")
        if (self.lowest_recall is None) != (self.lowest_recall_ratio is None):
            raise ValueError("lowest_recall and lowest_recall_ratio belong together")
        floor, lowest = self.min_recall_ratio, self.lowest_recall_ratio
        if self.status != "not recommended" and floor is not None and lowest is not None and lowest < floor:
            raise ValueError(f"{self.status} needs every recall ratio at {floor} or above, not {lowest}")
        return self

    @property
    def sentence(self) -> str:
        """Word and grounds in one plain line, the same wherever the trigger is shown."""
        measure, rows = self.measure.replace("_", " "), f"{self.rows:,} validation rows"
        if self.status == "certified" and self.bound is not None:
            most = f"gains at least {_share(-self.bound)}" if self.bound < 0 else f"loses at most {_share(self.bound)}"
            sure = f"with {100 * (1 - self.delta):.4g} % confidence it {most} {measure}"
            return f"certified: {sure} (budget {_share(self.budget)}, {rows})"
        if self.status == "promising":
            change = f"gains {_share(-self.loss)}" if self.loss < 0 else f"loses {_share(self.loss)}"
            more = f"; about {self.rows_needed:,} would prove it" if self.rows_needed is not None else ""
            return f"promising, not proved: {change} {measure} (budget {_share(self.budget)}) on {rows}{more}"
        return f"not recommended: {self.reason}"


def _share(value: float) -> str:
    """`.008`: four decimals at most, without the zeros around them."""
    return f"{value:.4f}".strip("0").rstrip(".") or "0"
