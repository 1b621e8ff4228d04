"""A served model as the guard sees it: what its rollout says, and how a version is taken out of service."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.evidence import Evidence
from service.guard import moment
from service.served import ServedModel
from service.watch import Stand
from triggers.plan import Plan
from triggers.records import CHANGES, PLAN
from triggers.rules import Rules
from triggers.store import Store, version_name

ACTOR = "guard"
PUBLIC_DETAIL = (PLAN, "threshold", "alpha")
"""What those may see of an action's detail who may not see exact counts; the rest depends on single predictions."""

_E_VALUE = re.compile(r", e-value [^,]*")


class GuardedModel:
    """The `Watched` of a served model; `rules` apply where the rollout has none of its own."""

    def __init__(self, model: ServedModel, store: Store, rules: Rules | None) -> None:
        self._model, self._store, self._rules = model, store, rules

    @property
    def pos_label(self) -> int:
        """Index of the label whose rate is the selection rate."""
        return self._model.classifier.pos_label

    def stand(self) -> Stand:
        """What serves it now, as far as this replica knows."""
        desired = self._model.follower.status.desired
        plan = desired.plan
        return Stand(
            desired.revision,
            moment(desired.updated_at),
            plan.champion,
            plan.challenger.version if plan.challenger else None,
            challenged=plan.challenger is not None,
            twins=plan.twin_share > 0,
            rules=self._rules if plan.guard is None else Rules.from_dict(plan.guard),
        )

    def withdraw(self, stand: Stand, evidence: Evidence) -> str:
        """End the challenge, or return to the champion before, and keep the rest of the plan.

        Raises RevisionConflict if the rollout is another by now.
        """
        plan = self._model.follower.status.desired.plan
        if stand.challenged and evidence.question.version == stand.challenger:
            new, done = replace(plan, challenger=None), f"challenger {version_name(stand.challenger)} rolled back"
        elif (before := self._champion_before(plan)) is None:
            return "nothing to roll back to"
        else:
            new = _with_champion(plan, before.champion)
            done = f"rolled back to {version_name(new.champion)}"
        self._model.follower.change(
            new, if_revision=stand.revision, actor=ACTOR, reason=_reason(done, evidence), detail=_detail(evidence)
        )
        self._model.count_rollback("guard")
        return done

    def _champion_before(self, plan: Plan) -> Plan | None:
        """The latest plan in the history, undone ones left out, that had another champion."""
        stack = [Plan()]
        for entry in reversed(self._store.history(self._model.name, limit=None)):
            if entry.action == "rollback":
                stack = stack[:-1] or [Plan()]
            elif entry.action in CHANGES:
                if entry.actor == ACTOR:  # what it took out of service is no place to go back to
                    while len(stack) > 1 and stack[-1].champion != entry.plan.champion:
                        stack.pop()
                stack.append(entry.plan)
        return next((each for each in reversed(stack) if each.champion != plan.champion), None)


def _with_champion(plan: Plan, champion: int | None) -> Plan:
    """The plan under another champion, who cannot also be its own challenger."""
    kept = plan.challenger if plan.challenger and plan.challenger.version != champion else None
    return replace(plan, champion=champion, challenger=kept)


def public_reason(actor: str | None, reason: str) -> str:
    """Why a rollout was changed, without the e-value that earlier versions wrote into the guard's reasons."""
    return _E_VALUE.sub("", reason) if actor == ACTOR else reason


def public_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the history as those may see it who may not see exact counts."""
    if entry["actor"] != ACTOR:
        return dict(entry)
    detail = {key: text for key, text in entry["detail"].items() if key in PUBLIC_DETAIL}
    return dict(entry) | {"detail": detail, "reason": public_reason(ACTOR, entry["reason"])}


def _reason(done: str, evidence: Evidence) -> str:
    return f"{done}: {evidence.question.test}, threshold {evidence.threshold:.3g}"


def _detail(evidence: Evidence) -> Mapping[str, str]:
    document: dict[str, Any] = evidence.to_dict()
    return {
        "e_value": repr(document["peak"]),
        "threshold": repr(document["threshold"]),
        "alpha": repr(document["alpha"]),
        "counts": json.dumps(document.pop("counts"), sort_keys=True),
        "evidence": json.dumps(document, sort_keys=True),
    }
