"""Rollout routes: read or change a model's champion, challenger and shadows, roll back, read the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.api.auth_dependencies import AdminOnly, Bearer, caller_of, is_admin
from service.api.dependencies import IfMatch, Model, Runtime
from service.api.pooled_route import PooledRoute
from service.api.request_parsing import parse_version
from service.api.schemas_rollout import (
    ChallengerModel,
    HistoryOut,
    Refused,
    ReplicaOut,
    RollbackRequest,
    RolloutChange,
    RolloutOut,
    ShadowModel,
)
from service.engine import ServedModel
from service.guard import public_entry, public_reason
from service.security.keyring import ADMIN_TOKEN
from triggers.errors import StoreError
from triggers.store.store import Challenger, Replica, Rollout, RolloutPlan, Shadow, version_name

router = APIRouter(route_class=PooledRoute, tags=["rollout"])

Wait = Annotated[bool, Query(description="answer when every running replica serves it")]
Timeout = Annotated[float, Query(gt=0, le=60, description="most seconds to wait")]


@router.get("/v1/models/{model}/rollout", summary="What shall be served, and what is")
async def show_rollout(model: Model, response: Response) -> RolloutOut:
    """The store's rollout, what this replica and all others serve; the ETag is the revision to change it from.

    As this replica last read the store, which it does again now: the answer waits for nothing.
    """
    model.controller.wake()
    return _with_etag(model, response, replicas=_listed(model.controller.known_replicas))


@router.put(
    "/v1/models/{model}/rollout",
    summary="Decide who serves",
    dependencies=[AdminOnly],
    responses={202: {"model": RolloutOut, "description": "Decided; the replicas in `behind` do not serve it yet"}},
)
def change_rollout(
    model: Model,
    revision: IfMatch,
    body: RolloutChange,
    request: Request,
    response: Response,
    wait: Wait = False,
    timeout: Timeout = 10.0,
) -> RolloutOut:
    """Load, check and try out every version, then swap to them between two batches.

    A version that does not pass is refused with 422 and written into the history; the rollout stays as it is.
    Without If-Match the answer is 428, with an old one 412. With `wait=true` the answer comes when every running
    replica serves the new revision (200), or after `timeout` seconds (202), and names those that are behind.
    """
    new = model.controller.change(_plan(body), if_revision=revision, actor=_actor(request), reason=body.reason)
    return _decided(model, new, response, timeout if wait else None)


@router.post(
    "/v1/models/{model}/rollout/rollback",
    summary="Return to the rollout before",
    dependencies=[AdminOnly],
    responses={202: {"model": RolloutOut, "description": "Decided; the replicas in `behind` do not serve it yet"}},
)
def roll_back(
    model: Model,
    revision: IfMatch,
    request: Request,
    response: Response,
    body: RollbackRequest | None = None,
    wait: Wait = False,
    timeout: Timeout = 10.0,
) -> RolloutOut:
    """The same checks as a swap, to the whole rollout of before. Rolling back again goes further back, not forth."""
    reason = body.reason if body else ""
    new = model.controller.roll_back(if_revision=revision, actor=_actor(request), reason=reason)
    model.count_rollback()
    return _decided(model, new, response, timeout if wait else None)


@router.get("/v1/models/{model}/history", summary="Every change and refusal")
def show_history(
    request: Request,
    service: Runtime,
    model: Model,
    bearer: Bearer,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> HistoryOut:
    """Newest first. Each entry carries the hash of the one before, so a rewritten history shows.

    The evidence and the counts behind the guard's decisions are for admins only.
    """
    entries = [entry.to_dict() for entry in service.store.history(model.name, limit=limit)]
    if not is_admin(request.scope):
        entries = [public_entry(entry) for entry in entries]
    return HistoryOut(model=model.name, entries=entries)


def rollout_document(model: ServedModel, **more: Any) -> RolloutOut:
    """Desired and applied state of one model."""
    status, state = model.controller.status, model.state
    desired, plan = status.desired, status.desired.plan
    challenger, shadow = plan.challenger, plan.shadow
    return RolloutOut(
        model=model.name,
        revision=desired.revision,
        champion=_name(plan.champion),
        challenger=ChallengerModel(version=_name(challenger.version), share=challenger.share) if challenger else None,
        shadow=ShadowModel(versions=[version_name(each) for each in shadow.versions], share=shadow.share)
        if shadow.versions
        else None,
        twin_share=plan.twin_share,
        guard=None if plan.guard is None else dict(plan.guard),
        updated_at=desired.updated_at,
        updated_by=desired.updated_by,
        reason=public_reason(desired.updated_by, desired.reason),
        replica=model.controller.replica,
        applied_revision=state.revision,
        applied_champion=_name(state.champion),
        refusal=Refused(**asdict(status.refusal)) if status.refusal else None,
        store_error=status.store_error,
        fault=model.fault,
        **more,
    )


def _plan(body: RolloutChange) -> RolloutPlan:
    challenger, shadow = body.challenger, body.shadow
    return RolloutPlan(
        champion=_number(body.champion),
        challenger=Challenger(_number(challenger.version), challenger.share) if challenger else None,
        shadow=Shadow(tuple(parse_version(name) for name in shadow.versions), shadow.share) if shadow else Shadow(),
        twin_share=body.twin_share,
        guard=body.guard,
    )


def _number(name: str | None) -> int | None:
    return None if name is None else parse_version(name)


def _decided(model: ServedModel, new: Rollout, response: Response, seconds: float | None) -> RolloutOut:
    if seconds is None:
        return _with_etag(model, response)
    behind = [each.name for each in model.controller.wait_for_all(new.revision, seconds)]
    response.status_code = 202 if behind else 200
    return _with_etag(model, response, replicas=_replicas(model), behind=behind)


def _replicas(model: ServedModel) -> list[ReplicaOut] | None:
    """All replicas and what they serve; None while the store does not answer."""
    try:
        return _listed(model.controller.replicas())
    except StoreError:
        return None


def _listed(found: Sequence[Replica] | None) -> list[ReplicaOut] | None:
    return (
        None if found is None else [ReplicaOut(**asdict(each) | {"champion": _name(each.champion)}) for each in found]
    )


def _with_etag(model: ServedModel, response: Response, **more: Any) -> RolloutOut:
    document = rollout_document(model, **more)
    response.headers["ETag"] = f'"{document.revision}"'
    return document


def _name(version: int | None) -> str | None:
    return None if version is None else version_name(version)


def _actor(request: Request) -> str:
    """The actor in the history: the client's host and, with API keys, the key's id."""
    caller = caller_of(request.scope)
    key = f"{caller.id} " if caller and caller.id != ADMIN_TOKEN else ""
    return f"admin {key}{request.client.host}" if request.client else f"admin {key}".strip()
