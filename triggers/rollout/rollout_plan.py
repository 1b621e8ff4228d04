"""The rollout plan of a model: a document that an operator writes, every replica follows, and a rollback restores.

    {"champion": 3, "challenger": {"version": 4, "share": 0.05}, "shadow": {"versions": [5], "share": 1.0},
     "twin_share": 0.01, "guard": null}

A version is a number, null is the bare model. Shares are between 0 and 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from triggers.errors import InputError

MAX_SHADOWS = 4
MAX_GUARD_BYTES = 4096
PLAN_FIELDS = frozenset({"champion", "challenger", "shadow", "twin_share", "guard"})


@dataclass(frozen=True)
class Challenger:
    """A version (None: the bare model) that answers `share` of the requests instead of the champion."""

    version: int | None
    share: float


@dataclass(frozen=True)
class Shadow:
    """Versions that are computed for `share` of the inputs and counted, but not returned."""

    versions: tuple[int, ...] = ()
    share: float = 1.0


@dataclass(frozen=True)
class RolloutPlan:
    """The whole plan. `twin_share` of the inputs also run without a trigger; `guard` is a document of GuardRules.

    Raises InputError("bad_rollout") if it contradicts itself.
    """

    champion: int | None = None
    challenger: Challenger | None = None
    shadow: Shadow = field(default_factory=Shadow)
    twin_share: float = 0.0
    guard: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, version in self._named().items():
            if version is not None and (type(version) is not int or version < 1):
                raise _bad(f"{name} is {version!r}, not a version number")
        for name, share in self._shares().items():
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise _bad(f"{name} is {share!r}; a share is between 0 and 1")
        if self.challenger and self.challenger.version == self.champion:
            raise _bad("champion and challenger are the same version")
        if len(set(self.shadow.versions)) < len(self.shadow.versions) or len(self.shadow.versions) > MAX_SHADOWS:
            raise _bad(f"shadow names {list(self.shadow.versions)}; name at most {MAX_SHADOWS} versions, each once")
        if self.guard is not None:
            _check_guard(self.guard)

    def _named(self) -> dict[str, int | None]:
        challenger = {"challenger.version": self.challenger.version} if self.challenger else {}
        shadows = {f"shadow.versions[{n}]": version for n, version in enumerate(self.shadow.versions)}
        return {"champion": self.champion} | challenger | shadows

    def _shares(self) -> dict[str, float]:
        challenger = {"challenger.share": self.challenger.share} if self.challenger else {}
        return {"twin_share": self.twin_share, "shadow.share": self.shadow.share} | challenger

    @property
    def versions(self) -> tuple[int, ...]:
        """Every version that must be in memory, once each, the champion first."""
        return tuple(dict.fromkeys(version for version in self._named().values() if version is not None))

    @property
    def answering(self) -> tuple[int, ...]:
        """The versions whose answers somebody gets: champion and challenger, where they are not the bare model."""
        named = (self.champion, self.challenger.version if self.challenger else None)
        return tuple(version for version in named if version is not None)

    @property
    def simple(self) -> bool:
        """Whether there is a champion (or none) and nothing else."""
        return self == RolloutPlan(self.champion)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        challenger = self.challenger and {"version": self.challenger.version, "share": self.challenger.share}
        return {
            "champion": self.champion,
            "challenger": challenger,
            "shadow": {"versions": list(self.shadow.versions), "share": self.shadow.share},
            "twin_share": self.twin_share,
            "guard": None if self.guard is None else dict(self.guard),
        }

    def to_json(self) -> str:
        """Canonical JSON on one line."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> RolloutPlan:
        """The inverse of `to_dict`; what is missing is off. Raises InputError, KeyError or TypeError."""
        if unknown := set(fields) - PLAN_FIELDS:
            raise _bad(f"it has unknown fields {sorted(unknown)}")
        challenger, shadow = fields.get("challenger"), fields.get("shadow") or {}
        return cls(
            champion=fields["champion"],
            challenger=Challenger(**challenger) if challenger else None,
            shadow=Shadow(tuple(shadow.get("versions", ())), shadow.get("share", 1.0)),
            twin_share=fields.get("twin_share", 0.0),
            guard=fields.get("guard"),
        )

    @classmethod
    def from_json(cls, text: str) -> RolloutPlan:
        """The inverse of `to_json`. Raises ValueError, InputError, KeyError or TypeError."""
        return cls.from_dict(json.loads(text))


def as_plan(decision: RolloutPlan | int | None) -> RolloutPlan:
    """A bare version, or None for the bare model, is short for a plan with that champion and nothing else."""
    return decision if isinstance(decision, RolloutPlan) else RolloutPlan(decision)


def _check_guard(guard: Mapping[str, Any]) -> None:
    try:
        size = len(json.dumps(dict(guard), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise _bad(f"guard is no JSON ({error})") from error
    if size > MAX_GUARD_BYTES:
        raise _bad(f"guard takes {size} bytes, more than {MAX_GUARD_BYTES}")


def plan_text(plan: RolloutPlan) -> str:
    """Summary of the plan but its champion, for people: `v4 on 5%, shadows v5 v6 on 100%, twins on 1%`, or nothing."""
    parts = []
    if plan.challenger:
        name = "none" if plan.challenger.version is None else f"v{plan.challenger.version}"
        parts.append(f"{name} on {_percent(plan.challenger.share)}")
    if plan.shadow.versions:
        names = " ".join(f"v{version}" for version in plan.shadow.versions)
        parts.append(f"shadows {names} on {_percent(plan.shadow.share)}")
    if plan.twin_share:
        parts.append(f"twins on {_percent(plan.twin_share)}")
    return ", ".join([*parts, *(["guarded"] if plan.guard is not None else [])])


def _percent(share: float) -> str:
    return f"{share * 100:.4g}%"


def _bad(what: str) -> InputError:
    return InputError("bad_rollout", f"The rollout cannot be: {what}.")
