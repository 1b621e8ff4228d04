"""A served model as the guard sees it: what its rollout says, and how a version is taken out of service."""

from __future__ import annotations

import json

from service.evidence import Evidence
from service.guard import Stand, moment
from service.rules import Rules
from service.served import ServedModel
from triggers.errors import NotFound
from triggers.records import champion_before
from triggers.store import Store, version_name

ACTOR = "guard"


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
        return Stand(desired.revision, moment(desired.updated_at), desired.champion, twins=True, rules=self._rules)

    def withdraw(self, stand: Stand, evidence: Evidence) -> str:
        """Return to the champion before. Raises RevisionConflict if the rollout is another by now."""
        try:
            target = champion_before(self._model.name, reversed(self._store.history(self._model.name, limit=None)))
        except NotFound:
            return "nothing to roll back to"
        reason = f"{evidence.question.test}: {json.dumps(evidence.to_dict())}"
        self._model.follower.change(target, if_revision=stand.revision, actor=ACTOR, reason=reason)
        self._model.count_rollback("guard")
        return f"rolled back to {version_name(target)}"
