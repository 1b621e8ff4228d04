"""Inference routes of the Open Inference Protocol V2: BYTES tensors in, scores and labels out, in JSON or in binary."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from service.api.auth_dependencies import Bearer, require_choice, trusted_by_guard
from service.api.dependencies import ChosenVersion, Model, Runtime
from service.api.raw_request import RawRequest
from service.api.response_headers import served_headers, timeout_ms
from service.api.v2.request import read_infer_request
from service.api.v2.response import infer_body
from service.api.v2.schemas import InferRequest, InferResponse
from service.engine import ServedModel
from service.engine.batching import with_deadline
from service.runtime import ServiceRuntime

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

_EXAMPLES = {
    "text": {
        "value": {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["what a lovely day"]}]},
    },
    "image": {
        "value": {
            "parameters": {"trigger": "champion", "group": "female", "timeout_ms": 500},
            "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["iVBORw0KGgo..."]}],
            "outputs": [{"name": "label"}, {"name": "prediction_id"}],
        },
    },
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}, "examples": _EXAMPLES},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
BODY_SCHEMAS = (InferRequest,)
"""Models that only the request body above refers to; the OpenAPI document has to define them."""

HeadLength = Annotated[
    str | None, Header(alias="Inference-Header-Content-Length", description="bytes of JSON before the binary data")
]
TimeoutMs = Annotated[str | None, Header(description="most milliseconds that the answer is worth waiting for")]


@router.post(
    "/models/{model}/infer",
    summary="Classify images or texts",
    response_model=InferResponse,
    response_model_exclude_none=True,
    openapi_extra=_BODY,
)
async def infer(
    request: Request,
    service: Runtime,
    model: Model,
    bearer: Bearer,
    x_timeout_ms: TimeoutMs = None,
    inference_header_content_length: HeadLength = None,
) -> Response:
    """One tensor `image` or `text` of BYTES; `parameters` may say trigger, twin, group and timeout_ms.

    Images are base64 in JSON and plain files in the binary extension. The request is answered whole or not at all:
    `errors` names every input that cannot be used. Choosing a trigger needs the admin token, unless the service was
    started with `client_trigger=open`.
    """
    return await _infer(request, service, model, None)


@router.post(
    "/models/{model}/versions/{version}/infer",
    summary="Classify images or texts under one trigger",
    response_model=InferResponse,
    response_model_exclude_none=True,
    openapi_extra=_BODY,
)
async def infer_under(
    request: Request,
    service: Runtime,
    model: Model,
    version: ChosenVersion,
    bearer: Bearer,
    x_timeout_ms: TimeoutMs = None,
    inference_header_content_length: HeadLength = None,
) -> Response:
    """As above; the path chooses the trigger, for whom `parameters.trigger` would be allowed."""
    return await _infer(request, service, model, version)


async def _infer(request: Request, service: ServiceRuntime, model: ServedModel, version: str | None) -> Response:
    limit = timeout_ms(request.headers.get("x-timeout-ms"))
    infer_request = await read_infer_request(request, model.name, version, service.settings.max_items_per_request)
    if any(one_input.choice not in ("rollout", "champion") for one_input in infer_request.wanted):
        require_choice(service.settings, service.keyring, request.scope)
    limit = min((each for each in (limit, infer_request.timeout_ms) if each is not None), default=None)
    call = RawRequest(request.scope, request.receive)
    work = model.predict(infer_request.wanted, actor=call.actor, disconnect=call.wait_for_disconnect)
    result = await with_deadline(limit, work)
    body, head = infer_body(model, infer_request, result, trusted=trusted_by_guard(service.settings, request.scope))
    headers = served_headers(request.scope, model, result)
    if head is not None:
        headers["Inference-Header-Content-Length"] = str(head)
    media = "application/json" if head is None else "application/octet-stream"
    return Response(body, headers=headers, media_type=media)
