"""Trigger routes: the published versions of a model, their cards and pictures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from service.api.dependencies import Model, Runtime, Version
from service.api.pooled_route import PooledRoute
from service.api.schemas import SelectionOut, TriggerList, TriggerSummary
from service.errors import ProblemError
from triggers.store.store import VersionInfo, version_name
from triggers.store.version_card import card
from triggers.trigger import ImageTrigger, preview_png

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
