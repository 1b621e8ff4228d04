"""Health routes: liveness, readiness and Prometheus metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.api.auth_dependencies import Bearer, caller_of, is_admin
from service.api.dependencies import Runtime
from service.api.pooled_route import PooledRoute
from service.api.routes.rollout import rollout_document
from service.engine import ServedModel

router = APIRouter(route_class=PooledRoute, tags=["health"])
_TOLD = {"revision", "champion", "applied_revision", "applied_champion", "refusal", "store_error", "fault"}


@router.get("/healthz", summary="Is the process alive?")
async def healthz(service: Runtime) -> JSONResponse:
    """200 while every inference thread runs; 503 means: restart me."""
    return JSONResponse({"alive": service.alive}, 200 if service.alive else 503)


@router.get("/readyz", summary="Should it get traffic?")
async def readyz(request: Request, service: Runtime) -> JSONResponse:
    """200 once every model is warm; 503 before that and as soon as the process was told to stop.

    Where keys are needed, `models` is empty without one. `fault` says why a model answers under another trigger than
    was decided, or under none: it is ready all the same. `failed` are models that are not served, and why: the others
    are ready all the same. A model that is only an address has `endpoint`: unless it answers as it did when it was
    wrapped, the process is not ready. Of several `devices` one is enough to be ready.
    """
    models: dict[str, Any] = {
        name: rollout_document(model).model_dump(include=_TOLD) | _endpoint(model)
        for name, model in service.models.items()
    }
    failed = {name: each.reason for name, each in service.failed.items()}
    known = service.keyring.open or caller_of(request.scope)
    body = {"ready": service.ready, "draining": service.draining, "models": models if known else {}}
    if failed:
        body["failed"] = failed if known else {}
    if service.devices:
        states = service.devices()
        body["devices"] = {"up": sum(there for _, there in states), "of": len(states)}
    return JSONResponse(body, 200 if service.ready else 503)


def _endpoint(model: ServedModel) -> dict[str, Any]:
    endpoint = model.backend.endpoint
    return {"endpoint": endpoint.to_dict()} if endpoint else {}


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
def metrics(request: Request, service: Runtime, bearer: Bearer) -> Response:
    """The text exposition format. Flips and the guard's e-values are for admins only."""
    body, content_type = service.metrics.render(exact=is_admin(request.scope))
    return Response(body, headers={"Content-Type": content_type})
