"""The rollout of a model: read it, swap the champion, roll back, and the history of all that."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.auth import AdminOnly
from service.intake import parse_version
from service.lookup import IfMatch, Model, RunningService
from service.schemas import HistoryOut, Refused, RollbackRequest, RolloutChange, RolloutOut
from service.served import ServedModel
from triggers.store import version_name

router = APIRouter(tags=["rollout"])


@router.get("/v1/models/{model}/rollout", summary="What shall be served, and what is")
def show_rollout(model: Model, response: Response) -> RolloutOut:
    """The store's rollout and what this replica has applied of it; the ETag is the revision to change it from."""
    return _with_etag(model, response)


@router.put("/v1/models/{model}/rollout", summary="Swap the champion", dependencies=[AdminOnly])
def change_rollout(
    model: Model, revision: IfMatch, body: RolloutChange, request: Request, response: Response
) -> RolloutOut:
    """Load, check and try out a version, then swap to it between two batches.

    A version that does not pass is refused with 422 and written into the history; the rollout stays as it is.
    Without If-Match the answer is 428, with an old one 412.
    """
    champion = None if body.champion is None else parse_version(body.champion)
    model.follower.change(champion, if_revision=revision, actor=_actor(request), reason=body.reason)
    return _with_etag(model, response)


@router.post("/v1/models/{model}/rollout/rollback", summary="Return to the champion before", dependencies=[AdminOnly])
def roll_back(
    model: Model, revision: IfMatch, request: Request, response: Response, body: RollbackRequest | None = None
) -> RolloutOut:
    """The same checks as a swap. Rolling back again goes one further back, not forth."""
    reason = body.reason if body else ""
    model.follower.roll_back(if_revision=revision, actor=_actor(request), reason=reason)
    model.count_rollback()
    return _with_etag(model, response)


@router.get("/v1/models/{model}/history", summary="Every change and refusal")
def show_history(
    service: RunningService, model: Model, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> HistoryOut:
    """Newest first. Each entry carries the hash of the one before, so a rewritten history shows."""
    entries = service.store.history(model.name, limit=limit)
    return HistoryOut(model=model.name, entries=[entry.to_dict() for entry in entries])


def rollout_document(model: ServedModel) -> RolloutOut:
    """Desired and applied state of one model."""
    status, snapshot = model.follower.status, model.predictor.snapshot
    desired = status.desired
    return RolloutOut(
        model=model.name,
        revision=desired.revision,
        champion=_name(desired.champion),
        updated_at=desired.updated_at,
        updated_by=desired.updated_by,
        reason=desired.reason,
        applied_revision=snapshot.revision,
        applied_champion=_name(snapshot.champion),
        refusal=Refused(**asdict(status.refusal)) if status.refusal else None,
        store_error=status.store_error,
    )


def _with_etag(model: ServedModel, response: Response) -> RolloutOut:
    model.follower.sync()
    document = rollout_document(model)
    response.headers["ETag"] = f'"{document.revision}"'
    return document


def _name(version: int | None) -> str | None:
    return None if version is None else version_name(version)


def _actor(request: Request) -> str:
    return f"admin {request.client.host}" if request.client else "admin"
