"""Pydantic models of the rollout: an operator's change, the resulting state, and the history."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from triggers.rollout import GuardRules
from triggers.rollout.rollout_plan import MAX_SHADOWS

VersionName = Annotated[str, StringConstraints(pattern=r"^v?[1-9][0-9]{0,8}$")]
TrafficShare = Annotated[float, Field(ge=0, le=1)]


class _In(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True)


class Refused(_Out):
    """A rollout that this replica would not serve, and the version at fault, if it is one."""

    version: int | None
    revision: int
    reason: str


class ChallengerModel(_In):
    """A version (null: the bare model) that answers a share of the requests instead of the champion."""

    version: VersionName | None
    share: TrafficShare


class ShadowModel(_In):
    """Versions that are computed for a share of the inputs and counted; nobody gets their answers."""

    versions: list[VersionName] = Field(max_length=MAX_SHADOWS)
    share: TrafficShare = 1.0


class ReplicaOut(_Out):
    """A running service and the revision that it serves; `refusal` says why it refused `refused_revision`."""

    name: str
    revision: int
    champion: str | None
    refusal: str | None
    refused_revision: int | None
    seen_at: str


class RolloutOut(_Out):
    """What shall be served (`revision`, `champion`, ...) and what this replica really serves (`applied`)."""

    model: str
    revision: int
    champion: str | None = Field(description="version such as v3; null is the bare model")
    challenger: ChallengerModel | None
    shadow: ShadowModel | None
    twin_share: float
    guard: dict[str, Any] | None
    updated_at: str | None
    updated_by: str | None
    reason: str
    replica: str = Field(description="the name of the replica that answers")
    applied_revision: int
    applied_champion: str | None
    refusal: Refused | None
    store_error: str | None = Field(description="why the store could not be asked lately, if so")
    fault: str | None = Field(default=None, description="why what was decided is not what answers here, and what does")
    replicas: list[ReplicaOut] | None = Field(default=None, description="all running replicas and what they serve")
    behind: list[str] | None = Field(default=None, description="with wait=true: the replicas that do not serve it yet")


class RolloutChange(_In):
    """The whole decision: what is left out is off. A champion of null returns to the bare model."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"champion": "v3", "reason": "halves the gap"},
                {
                    "champion": "v3",
                    "challenger": {"version": "v4", "share": 0.05},
                    "shadow": {"versions": ["v5"], "share": 0.5},
                    "twin_share": 0.01,
                    "reason": "try v4 on one user in twenty, watch v5",
                },
            ]
        }
    )

    champion: VersionName | None
    challenger: ChallengerModel | None = None
    shadow: ShadowModel | None = None
    twin_share: TrafficShare = 0.0
    guard: dict[str, Any] | None = Field(
        default=None,
        description="limits on live fairness: `max_disparity`, `worse_by`, `accuracy_loss`, with `metric`, `alpha`, "
        "`attributes` and `action`; null leaves it to the service's own settings",
        examples=[{"max_disparity": 0.1, "worse_by": 0.02, "alpha": 0.05, "action": "rollback"}],
    )
    reason: str = Field(default="", max_length=1000)

    @field_validator("guard")
    @classmethod
    def _rules(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            GuardRules.from_dict(value)
        return value


class RollbackRequest(_In):
    """Return to the rollout before the present one, the whole of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "accuracy fell"}]})

    reason: str = Field(default="", max_length=1000)


class HistoryOut(_Out):
    """Changes and refusals, newest first; every entry carries the hash of the one before."""

    model: str
    entries: list[dict[str, Any]]
