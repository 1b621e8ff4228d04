"""Adapter from a served model to the guard: reads its rollout and rolls a version back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.engine import ServedModel
from service.guard.guard import parse_timestamp
from service.guard.observations import ServingState
from service.guard.sequential_tests import Evidence
from triggers.errors import ArtifactError
from triggers.rollout import GuardRules, RolloutPlan
from triggers.rollout.rollout_history import CHANGES, PLAN_KEY
from triggers.store import Store
from triggers.store.store import version_name

GUARD_ACTOR = "guard"
PUBLIC_DETAIL = (PLAN_KEY, "threshold", "alpha")
"""Keys of an action's detail that every reader may see; the others depend on single predictions."""

_E_VALUE = re.compile(r", e-value [^,]*")


class GuardedModel:
    """The `GuardTarget` of a served model; `rules` apply where the rollout has none of its own."""

    def __init__(self, model: ServedModel, store: Store, rules: GuardRules | None) -> None:
        self._model, self._store, self._rules = model, store, rules

    @property
    def pos_label(self) -> int:
        """Index of the label whose rate is the selection rate."""
        return self._model.classifier.pos_label

    def serving_state(self) -> ServingState:
        """The serving versions, as far as this replica knows."""
        desired = self._model.controller.status.desired
        plan = desired.plan
        return ServingState(
            desired.revision,
            parse_timestamp(desired.updated_at),
            plan.champion,
            plan.challenger.version if plan.challenger else None,
            challenged=plan.challenger is not None,
            twins=plan.twin_share > 0,
            rules=self._rules if plan.guard is None else GuardRules.from_dict(plan.guard),
        )

    def withdraw(self, serving: ServingState, evidence: Evidence) -> str:
        """End the challenger's trial, or return to the previous champion, and keep the rest of the plan.

        A champion that is refused by now is passed over for the one before it, at last for the bare model. Waits for
        the store. Raises RevisionConflict if the rollout is another by now, ArtifactError if all were refused.
        """
        plan = self._model.controller.status.desired.plan
        if serving.challenged and evidence.hypothesis.version == serving.challenger:
            done = f"challenger {version_name(serving.challenger)} rolled back"
            return self._change(replace(plan, challenger=None), serving, evidence, done)
        refusal: ArtifactError | None = None
        for champion in self._champions_before(plan):
            try:
                done = f"rolled back to {version_name(champion)}"
                return self._change(_with_champion(plan, champion), serving, evidence, done)
            except ArtifactError as error:  # the controller has recorded it in the history
                refusal = error
        if refusal:
            raise refusal
        return "nothing to roll back to"

    def _change(self, plan: RolloutPlan, serving: ServingState, evidence: Evidence, done: str) -> str:
        self._model.controller.change(
            plan,
            if_revision=serving.revision,
            actor=GUARD_ACTOR,
            reason=_reason(done, evidence),
            detail=_detail(evidence),
        )
        self._model.count_rollback("guard")
        return done

    def _champions_before(self, plan: RolloutPlan) -> list[int | None]:
        """Other champions in the history, the latest first; none that was undone or that the guard rolled back."""
        stack = [RolloutPlan()]
        for entry in reversed(self._store.history(self._model.name, limit=None)):
            if entry.action == "rollback":
                stack = stack[:-1] or [RolloutPlan()]
            elif entry.action in CHANGES:
                if entry.actor == GUARD_ACTOR:  # never return to a version that the guard rolled back
                    while len(stack) > 1 and stack[-1].champion != entry.plan.champion:
                        stack.pop()
                stack.append(entry.plan)
        return list(dict.fromkeys(each.champion for each in reversed(stack) if each.champion != plan.champion))


def _with_champion(plan: RolloutPlan, champion: int | None) -> RolloutPlan:
    """The plan under another champion, without a challenger of the same version."""
    kept = plan.challenger if plan.challenger and plan.challenger.version != champion else None
    return replace(plan, champion=champion, challenger=kept)


def public_reason(actor: str | None, reason: str) -> str:
    """Reason of a rollout change, without the e-value that earlier releases wrote into the guard's reasons."""
    return _E_VALUE.sub("", reason) if actor == GUARD_ACTOR else reason


def public_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A history entry for readers who may not see exact counts."""
    if entry["actor"] != GUARD_ACTOR:
        return dict(entry)
    detail = {key: text for key, text in entry["detail"].items() if key in PUBLIC_DETAIL}
    return dict(entry) | {"detail": detail, "reason": public_reason(GUARD_ACTOR, entry["reason"])}


def _reason(done: str, evidence: Evidence) -> str:
    return f"{done}: {evidence.hypothesis.test}, threshold {evidence.threshold:.3g}"


def _detail(evidence: Evidence) -> Mapping[str, str]:
    document: dict[str, Any] = evidence.to_dict()
    return {
        "e_value": repr(document["peak"]),
        "threshold": repr(document["threshold"]),
        "alpha": repr(document["alpha"]),
        "counts": json.dumps(document.pop("counts"), sort_keys=True),
        "evidence": json.dumps(document, sort_keys=True),
    }
