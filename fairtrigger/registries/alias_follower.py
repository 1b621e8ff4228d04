"""The follower of aliases: a store's rollout goes where `champion` and `challenger` are moved in an MLflow registry.

It acts when an alias moves, never on its absence at the start, and writes into the store's history what it followed:
started again, it does not undo what a guard or an operator decided since.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fairtrigger.registries.mlflow_registry import CHALLENGER, CHAMPION, MlflowRegistry
from triggers.errors import ArtifactError, InputError, NotFound, RevisionConflict, StoreUnavailable
from triggers.rollout import RolloutPlan
from triggers.rollout.rollout_history import Rollout, version_name
from triggers.rollout.rollout_plan import Challenger, plan_text
from triggers.store import Store, artifact_gate

POLL_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0
REGISTRY_KEY, ALIASES_KEY = "registry", "aliases"
"""Keys in the detail of a history entry: the registry that was followed, and its aliases then."""


class AliasFollower:
    """One model of a store that follows a registry. A new challenger answers `share` of the requests.

    `certified`: versions that answer must be so. Every version goes through the store's gate, with its signatures.
    """

    def __init__(
        self,
        registry: MlflowRegistry,
        store: Store,
        model: str,
        *,
        actor: str,
        share: float = 0.05,
        certified: bool = False,
    ) -> None:
        self._registry, self._store, self._model = registry, store, model
        self._actor, self._share, self._certified = actor, share, certified
        self._seen = self._followed()
        import triggers.artifact.artifact_tensors  # noqa: F401 - torch now, not when an alias has moved

    def poll(self) -> str | None:
        """Look once and do what changed; return a line about it.

        Raises StoreUnavailable, NotFound or RevisionConflict: look again.
        """
        aliases = self._registry.aliases(self._model)
        now = {alias: aliases[alias] for alias in (CHAMPION, CHALLENGER) if alias in aliases}
        if now == self._seen:
            return None
        try:
            after = self._follow(now)
        except (ArtifactError, InputError) as error:
            self._seen = now  # asked again only when an alias moves again
            return f"{self._model}: refused, the rollout stays: {error}"
        self._seen = now
        beside = plan_text(after.plan)
        served = version_name(after.champion) + (f", {beside}" if beside else "")
        return f"{self._model}: {_text(now)} -> {served} (revision {after.revision})"

    def follow(self, say: Callable[[str], None], wait: Callable[[float], object] = time.sleep) -> None:
        """Look every POLL_SECONDS until `wait` returns true; less often while a side does not answer, said once."""
        pause, lost = POLL_SECONDS, False
        while True:
            try:
                line = self.poll()
            except RevisionConflict:
                line = None
            except (StoreUnavailable, NotFound) as error:
                line = None if lost else f"{error} The rollout stays; asking again."
                lost, pause = True, min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                if lost:
                    say("Answers again.")
                lost, pause = False, POLL_SECONDS
            if line:
                say(line)
            if wait(pause):
                return

    def _follow(self, now: dict[str, str]) -> Rollout:
        moved = [alias for alias in (CHAMPION, CHALLENGER) if now.get(alias) != self._seen.get(alias)]
        versions = {alias: self._fetched(now[alias]) for alias in moved if alias in now}
        detail = {REGISTRY_KEY: self._registry.place, ALIASES_KEY: _text(now)}
        return artifact_gate.change_plan(
            self._store,
            self._model,
            partial(self._plan, moved=moved, versions=versions),
            actor=self._actor,
            reason=f"follows {self._registry.place}: {_text(now)}",
            certified=self._certified,
            detail=detail,
        )

    def _plan(self, plan: RolloutPlan, moved: list[str], versions: dict[str, int]) -> RolloutPlan:
        """The plan with the aliases that moved; a champion is never taken away, a challenger is."""
        champion, challenger = versions.get(CHAMPION, plan.champion), plan.challenger
        if CHALLENGER in moved:
            challenger = Challenger(versions[CHALLENGER], self._share) if CHALLENGER in versions else None
        if challenger and challenger.version == champion:
            challenger = None
        return replace(plan, champion=champion, challenger=challenger)

    def _fetched(self, number: str) -> int:
        """The store's version of a registry's; published here if it was never seen."""
        data = self._registry.pull(self._model, number)
        reason = f"version {number} of {self._registry.place}"
        return artifact_gate.push_artifact(
            self._store, data, actor=self._actor, reason=reason, model=self._model, file=reason
        )

    def _followed(self) -> dict[str, str]:
        """The aliases that were last followed here, by the store's history."""
        for entry in self._store.history(self._model, limit=None):
            if entry.detail.get(REGISTRY_KEY) == self._registry.place and ALIASES_KEY in entry.detail:
                pairs = [each.partition("=") for each in entry.detail[ALIASES_KEY].split(", ") if "=" in each]
                return {alias: number for alias, _, number in pairs}
        return {}


def _text(aliases: dict[str, str]) -> str:
    return ", ".join(f"{alias}={number}" for alias, number in sorted(aliases.items())) or "no alias"
