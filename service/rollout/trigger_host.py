"""The triggers of one model as they are applied: by this process, or by all the processes that compute for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from triggers.rollout import RolloutPlan


@dataclass(frozen=True)
class TriggerState:
    """A plan, the revision it came from, and the digest of each version in memory, of which `max_versions` fit.

    `groups_overlap`: a trigger in memory was made on groups that overlap, so its model's group names are read likewise.
    """

    plan: RolloutPlan
    revision: int
    digests: Mapping[int | None, str | None]
    max_versions: int
    groups_overlap: bool = False

    @property
    def champion(self) -> int | None:
        """The version that serves whoever does not choose one."""
        return self.plan.champion

    def digest(self, version: int | None) -> str | None:
        """Of a version in memory."""
        return self.digests.get(version)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        rest = {"revision": self.revision, "max_versions": self.max_versions, "groups_overlap": self.groups_overlap}
        return rest | {"plan": self.plan.to_dict(), "digests": list(self.digests.items())}

    @classmethod
    def from_dict(cls, message: Mapping[str, Any]) -> TriggerState:
        """The inverse of `to_dict`."""
        plan, digests = RolloutPlan.from_dict(message["plan"]), dict(message["digests"])
        return cls(**{**message, "plan": plan, "digests": digests})


class TriggerHost(Protocol):
    """Where a model's triggers are in memory: all that following a rollout needs to know of a backend."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def state(self) -> TriggerState:
        """The triggers that the next batch will use; on any thread."""
        ...

    def hold(self, version: int) -> AbstractContextManager[None]:
        """Hold a version in memory wherever the model is computed, loading it first if needed; for threads."""
        ...

    def activate_plan(self, plan: RolloutPlan, revision: int) -> None:
        """Let a plan decide for every batch that starts from now on, all its versions loaded; for threads."""
        ...
