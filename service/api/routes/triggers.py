"""Trigger routes: the published versions of a model, their cards and pictures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from service.api.dependencies import Model, Runtime, Version
from service.api.pooled_route import PooledRoute
from service.api.schemas import SelectionOut, TokenOut, TriggerList, TriggerSummary, TriggerTokens
from service.errors import ProblemError
from triggers.store.store import VersionInfo, version_name
from triggers.store.version_card import card
from triggers.trigger import ImageTrigger, TextTrigger, preview_png

router = APIRouter(route_class=PooledRoute, tags=["triggers"])
VERSION = r"^v?[1-9][0-9]{0,8}$"


@router.get("/v1/models/{model}/triggers", summary="The published versions")
def list_triggers(
    service: Runtime,
    model: Model,
    limit: Annotated[int, Query(ge=1, le=1000, description="most versions, the latest ones")] = 1000,
    before: Annotated[str | None, Query(pattern=VERSION, description="only versions before this one")] = None,
) -> TriggerList:
    """The latest versions in the store, oldest first. `earlier` is the `before` under which those before them are."""
    serving, end = model.state.champion, None if before is None else int(before.removeprefix("v"))
    found = service.store.versions(model.name, limit, end)
    return TriggerList(
        model=model.name,
        triggers=[_summary(info, info.version == serving) for info in found],
        earlier=version_name(found[0].version) if found and found[0].version > 1 else None,
    )


@router.get("/v1/models/{model}/triggers/{version}", summary="The card of one version")
def show_trigger(service: Runtime, model: Model, version: Version) -> dict[str, Any]:
    """What it was trained for and on, and what it did to fairness there, recomputed from its counts."""
    return card(service.store.version(model.name, version), service.store.rollout(model.name))


@router.get("/v1/models/{model}/triggers/{version}/tokens", summary="The tokens of a text trigger")
def show_tokens(service: Runtime, model: Model, version: Version) -> TriggerTokens:
    """Its words, where it has any, and the weight of each token: the length of its vector, as its file holds it."""
    artifact = service.store.get(model.name, version)
    if isinstance(artifact.trigger, ImageTrigger):
        raise ProblemError(404, "no_tokens", f"{version_name(version)} is an image trigger; it has a preview.png.")
    trigger = artifact.trigger
    return TriggerTokens(digest=artifact.digest, position=trigger.position, tokens=_tokens(trigger))


@router.get(
    "/v1/models/{model}/triggers/{version}/preview.png",
    summary="A picture of an image trigger",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
def preview_trigger(service: Runtime, model: Model, version: Version) -> Response:
    """The trigger on mid grey; a text trigger has no picture, its words are in its card."""
    artifact = service.store.get(model.name, version)
    if not isinstance(artifact.trigger, ImageTrigger):
        raise ProblemError(404, "no_picture", f"{version_name(version)} is a text trigger; its card names its words.")
    headers = {"ETag": f'"{artifact.digest}"', "Cache-Control": "private, max-age=31536000, immutable"}
    return Response(preview_png(artifact.trigger), media_type="image/png", headers=headers)


def _tokens(trigger: TextTrigger) -> list[TokenOut]:
    count, dim = trigger.embeddings.shape
    nothing = [None] * count
    norms = trigger.embeddings.norm(dim=1).tolist() if dim else nothing  # an endpoint's words have no vectors
    rows = zip(trigger.words or nothing, trigger.token_ids or nothing, norms, strict=True)
    return [TokenOut(word=word, token_id=token_id, norm=norm) for word, token_id, norm in rows]


def _summary(info: VersionInfo, champion: bool) -> TriggerSummary:
    found = info.selection
    return TriggerSummary(
        version=version_name(info.version),
        digest=info.digest,
        kind=info.kind,
        objective=info.objective.model_dump(),
        selection=SelectionOut(status=found.status, sentence=found.sentence) if found else None,
        bytes=info.bytes,
        created_at=info.created_at,
        created_by=info.created_by,
        champion=champion,
    )
