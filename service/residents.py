"""The triggers of one model in memory, as those see them who do not compute with them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from triggers.plan import Plan


class Serving(Protocol):
    """A trigger in memory."""

    @property
    def version(self) -> int | None: ...

    @property
    def digest(self) -> str | None: ...


class Applied(Protocol):
    """What is applied of a rollout."""

    @property
    def champion(self) -> int | None: ...

    @property
    def plan(self) -> Plan: ...

    @property
    def revision(self) -> int: ...

    def digest(self, version: int | None) -> str | None:
        """Of a version of the plan."""
        ...


class Triggers(Protocol):
    """The triggers of one model in memory: `predictor.Predictor`, or `remote`'s of another process."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def snapshot(self) -> Applied:
        """What the next batch will use."""
        ...

    @property
    def champion(self) -> Serving:
        """The trigger that serves whoever does not choose one."""
        ...

    @property
    def max_versions(self) -> int:
        """How many versions fit into memory."""
        ...

    @property
    def groups_overlap(self) -> bool:
        """Whether a trigger in memory was made on groups that overlap."""
        ...

    def lease(self, version: int) -> AbstractContextManager[Serving]:
        """Hold a version in memory, loading it first if needed."""
        ...

    def pin(self, version: int) -> bool:
        """Hold a version until `unpin`, if that needs no waiting."""
        ...

    def unpin(self, version: int) -> None:
        """Let go of what `pin` held."""
        ...

    def promote(self, decision: Plan | int | None, revision: int) -> None:
        """Let a plan (or a champion alone) decide for every batch that starts from now on, all its versions loaded."""
        ...

    def warm(self) -> None:
        """Make the first request as fast as the others."""
        ...
