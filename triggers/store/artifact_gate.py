"""Checked changes of a store: an artifact that does not verify is neither stored nor served; the history says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from triggers.artifact.artifact import check_certified, check_compatible, load_artifact, stated_model
from triggers.errors import ArtifactError, ArtifactMismatch, InputError
from triggers.rollout import GuardRules, RolloutPlan
from triggers.rollout.rollout_history import Rollout, plan_before
from triggers.store.artifact_integrity import file_digest
from triggers.store.store import Store

if TYPE_CHECKING:
    from triggers.model import FrozenClassifier


def push_artifact(
    store: Store,
    data: bytes,
    *,
    actor: str,
    reason: str = "",
    model: str | None = None,
    classifier: FrozenClassifier | None = None,
    file: str = "",
) -> int:
    """Check the bytes of an artifact and publish it; return its version.

    `model` is the model it must be for, `classifier` one it must fit, `file` a name for the history. Raises
    ArtifactError; the refusal is in the history of `model`, or else of the model that the file claims to be for.
    """
    try:
        artifact = load_artifact(data)
        if model not in (None, artifact.manifest.model):
            raise ArtifactMismatch(f"The trigger was made for model {artifact.manifest.model!r}, not {model!r}.")
        if classifier:
            check_compatible(artifact, classifier)
        return store.publish(artifact, actor=actor, reason=reason)
    except ArtifactError as error:
        known = model or stated_model(data)
        if known:
            detail = {"file": file, "file_sha256": file_digest(data)}
            store.record_refusal(known, None, actor=actor, reason=str(error), detail=detail)
        raise


def activate_version(
    store: Store,
    model: str,
    version: int | None,
    *,
    actor: str,
    reason: str,
    if_revision: int | None = None,
    classifier: FrozenClassifier | None = None,
    certified: bool = False,
) -> Rollout:
    """Make a version (None: the bare model) the champion; shadows and twins go on, a challenger's trial ends."""
    return change_plan(
        store,
        model,
        lambda plan: replace(plan, champion=version, challenger=None),
        actor=actor,
        reason=reason,
        if_revision=if_revision,
        classifier=classifier,
        certified=certified,
    )


def change_plan(
    store: Store,
    model: str,
    change: Callable[[RolloutPlan], RolloutPlan],
    *,
    actor: str,
    reason: str,
    if_revision: int | None = None,
    classifier: FrozenClassifier | None = None,
    certified: bool = False,
    detail: Mapping[str, str] | None = None,
) -> Rollout:
    """Change the plan once all its versions verify; otherwise record the refusal and raise it.

    With `certified`, those that answer must be so. `detail` goes into the history.
    Raises InputError("bad_rollout") for invalid guard rules, and RevisionConflict if the plan changed meanwhile, or
    since `if_revision`.
    """
    before = store.rollout(model)
    plan = change(before.plan)
    check_guard(plan)
    _check_plan(store, model, plan, actor, classifier, certified)
    revision = before.revision if if_revision is None else if_revision
    return store.set_rollout(model, plan, if_revision=revision, actor=actor, reason=reason, detail=detail)


def rollback_plan(
    store: Store,
    model: str,
    *,
    actor: str,
    reason: str,
    classifier: FrozenClassifier | None = None,
    certified: bool = False,
) -> Rollout:
    """Return to the plan before, once it verifies. Raises RevisionConflict if the plan changed meanwhile."""
    revision = store.rollout(model).revision
    plan = plan_before(model, reversed(store.history(model, limit=None)))
    _check_plan(store, model, plan, actor, classifier, certified)
    return store.rollback(model, if_revision=revision, actor=actor, reason=reason)


def check_guard(plan: RolloutPlan) -> None:
    """Raise InputError("bad_rollout") unless the plan's guard, if it has one, is valid GuardRules.

    Reading a plan does not check them: a plan of a newer release must not stop an older one from serving.
    """
    try:
        if plan.guard is not None:
            GuardRules.from_dict(plan.guard)
    except ValueError as error:
        raise InputError("bad_rollout", str(error)) from error


def _check_plan(
    store: Store, model: str, plan: RolloutPlan, actor: str, classifier: FrozenClassifier | None, certified: bool
) -> None:
    for version in plan.versions:
        needed = certified and version in plan.answering
        check_servable(store, model, version, actor=actor, classifier=classifier, certified=needed)


def check_servable(
    store: Store,
    model: str,
    version: int,
    *,
    actor: str,
    classifier: FrozenClassifier | None = None,
    certified: bool = False,
) -> None:
    """Raise ArtifactError, and record the refusal, unless the version verifies and fits the classifier.

    With `certified`, its selection must have certified it.
    """
    try:
        artifact = store.get(model, version)
        if classifier:
            check_compatible(artifact, classifier)
        if certified:
            check_certified(artifact)
    except ArtifactError as error:
        store.record_refusal(model, version, actor=actor, reason=str(error))
        raise
