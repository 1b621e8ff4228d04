"""Pydantic models of observations: predictions that another system made."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WrapValidator,
    model_validator,
)

from service.api.schemas import GroupName, ProblemDocument, entry_or_problem, one_or_many

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _rfc_3339(value: object) -> object:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("give a time as RFC 3339 writes it, with its offset: 2026-11-02T09:30:00Z")
    return datetime.fromisoformat(value.upper())


class ObservationItem(BaseModel):
    """One prediction that was made elsewhere, by the bare model or under a version of a trigger."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    observation_id: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        description="the caller's own id of this prediction, the same in every retry; only its hash is kept"
    )
    version: Annotated[str, StringConstraints(pattern=r"^(none|v?[1-9][0-9]{0,8})$")] | None = Field(
        description="the version that answered, such as v3; null or none: the bare model"
    )
    prediction: str | int | float | bool | None = Field(
        default=None, description="the label that was answered: a name or an index, as in feedback"
    )
    scores: dict[str, Annotated[float, Field(strict=False)]] | None = Field(
        default=None, description="or the score of every label, from 0 to 1; this model's own rule decides the label"
    )
    baseline_prediction: str | int | float | bool | None = Field(
        default=None, description="what the bare model said of the same input: a twin"
    )
    group: GroupName | None = None
    label: str | int | float | bool | None = Field(default=None, description="the true label, if it is known already")
    digest: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        default=None, description="digest of the version, which must be that of the store"
    )
    time: Annotated[datetime, BeforeValidator(_rfc_3339)] | None = Field(
        default=None, description="when it was made: in the last 7 days; default: now"
    )

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if (self.prediction is None) == (self.scores is None):
            raise ValueError("give exactly one of `prediction` and `scores`")
        return self


ObservationEntry = Annotated[ObservationItem, WrapValidator(entry_or_problem)]
"""One of several; one that does not fit its schema is validated to a Problem, so that the others are counted."""

ObservationBody = Annotated[
    Annotated[ObservationItem, Tag("one")]
    | Annotated[list[ObservationEntry], Field(min_length=1, max_length=10_000, fail_fast=True), Tag("many")],
    Discriminator(one_or_many),
]
"""One observation, or a list of them."""


class ObservationResult(BaseModel):
    """What became of one: `counted` now, `counted_before` (a retry), or `refused`."""

    model_config = ConfigDict(frozen=True)

    status: Literal["counted", "counted_before", "refused"]
    prediction_id: str | None = Field(
        default=None, description="a sealed receipt: send it with a label or group to /feedback"
    )
    error: ProblemDocument | None = None


class ObservationResponse(BaseModel):
    """One result per observation, in its order."""

    model_config = ConfigDict(frozen=True)

    results: list[ObservationResult]
