"""Health and metadata routes of the Open Inference Protocol V2. A model's versions are its triggers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from service.api.dependencies import ChosenVersion, Model, Runtime
from service.api.pooled_route import PooledRoute
from service.api.v2.schemas import Live, ModelMetadata, Ready, ServerMetadata, TensorMetadata
from service.engine import ServedModel
from service.runtime import ServiceRuntime
from triggers.store.store import version_name

router = APIRouter(route_class=PooledRoute, prefix="/v2", tags=["open inference protocol"])
EXTENSIONS = ["binary_tensor_data"]


@router.get("", summary="What this server is")
async def server_metadata(request: Request) -> ServerMetadata:
    """Name, release and the protocol's extensions that are spoken here."""
    return ServerMetadata(name="fairtrigger", version=request.app.version, extensions=EXTENSIONS)


@router.get("/health/live", summary="Does the process live?", response_model=Live)
async def live(service: Runtime) -> JSONResponse:
    """The same as /healthz."""
    return JSONResponse({"live": service.alive}, 200 if service.alive else 503)


@router.get("/health/ready", summary="Should it get traffic?", response_model=Ready, response_model_exclude_none=True)
async def ready(service: Runtime) -> JSONResponse:
    """The same as /readyz."""
    return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)


@router.get("/models/{model}", summary="Inputs, outputs and versions of a model")
def model_metadata(service: Runtime, model: Model) -> ModelMetadata:
    """`versions` are the published triggers, and `none`: the bare model."""
    latest = service.store.versions(model.name, limit=1)
    return _metadata(model, ["none", *map(version_name, range(1, latest[0].version + 1 if latest else 1))])


@router.get("/models/{model}/versions/{version}", summary="Inputs and outputs of a model under one trigger")
def version_metadata(service: Runtime, model: Model, version: ChosenVersion) -> ModelMetadata:
    """The same for every version, if it exists."""
    return _metadata(model, [_published(service, model, version)])


@router.get(
    "/models/{model}/ready", summary="Is the model ready?", response_model=Ready, response_model_exclude_none=True
)
async def model_ready(service: Runtime, model: Model) -> JSONResponse:
    """200 or 503, as for the whole server: every model is warm before any is served."""
    return _ready(service, model)


@router.get(
    "/models/{model}/versions/{version}/ready",
    summary="Can the model be asked under this trigger?",
    response_model=Ready,
    response_model_exclude_none=True,
)
def version_ready(service: Runtime, model: Model, version: ChosenVersion) -> JSONResponse:
    """404 if the trigger was never published; one that is not in memory is loaded by the first request for it."""
    _published(service, model, version)
    return _ready(service, model)


def _ready(service: ServiceRuntime, model: ServedModel) -> JSONResponse:
    return JSONResponse({"name": model.name, "ready": service.ready}, 200 if service.ready else 503)


def _published(service: ServiceRuntime, model: ServedModel, version: str) -> str:
    """The version's name. Raises NotFound."""
    return version if version == "none" else version_name(service.store.version(model.name, int(version[1:])).version)


def _metadata(model: ServedModel, versions: list[str]) -> ModelMetadata:
    given = "image" if model.classifier.spec.image else "text"
    outputs = [
        TensorMetadata(name="scores", datatype="FP32", shape=[-1, len(model.classifier.labels)]),
        *(TensorMetadata(name=name, datatype="BYTES", shape=[-1]) for name in ("label", "prediction_id", "trigger")),
        TensorMetadata(name="truncated", datatype="BOOL", shape=[-1]),
    ]
    inputs = [TensorMetadata(name=given, datatype="BYTES", shape=[-1])]
    return ModelMetadata(
        name=model.name, versions=versions, platform="pytorch_fairtrigger", inputs=inputs, outputs=outputs
    )
