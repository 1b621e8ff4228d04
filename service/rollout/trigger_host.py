"""State and interface of a model's triggers in memory: in this process, or in its engine processes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from triggers.rollout import RolloutPlan


@dataclass(frozen=True)
class TriggerState:
    """A plan, the revision it came from, and the digest of each version in memory, of which `max_versions` fit.

    `groups_overlap`: a trigger in memory was trained on overlapping groups, so group names are read as overlapping.
    """

    plan: RolloutPlan
    revision: int
    digests: Mapping[int | None, str | None]
    max_versions: int
    groups_overlap: bool = False

    @property
    def champion(self) -> int | None:
        """The version that serves requests that do not choose one; None is no trigger."""
        return self.plan.champion

    def digest(self, version: int | None) -> str | None:
        """The digest of a version in memory, else None."""
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
    """A model's triggers in memory: the part of a backend that RolloutController needs."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def state(self) -> TriggerState:
        """The triggers that the next batch will use; on any thread."""
        ...

    def hold(self, version: int) -> AbstractContextManager[None]:
        """Hold a version in memory wherever the model is computed, loading it if needed. Not on the event loop."""
        ...

    def activate_plan(self, plan: RolloutPlan, revision: int) -> None:
        """Apply a plan to every batch that starts from now on, loading its versions. Not on the event loop."""
        ...
