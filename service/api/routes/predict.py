"""The predict route: inputs in three encodings, one answer each with the version that computed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request, Response

from service.api.auth_dependencies import Bearer, require_choice, trusted_by_guard
from service.api.dependencies import Model, Runtime
from service.api.problem_details import to_problem
from service.api.raw_request import RawRequest
from service.api.request_parsing import read_inputs, read_query, request_key
from service.api.response_headers import served_headers, timeout_ms
from service.api.schemas import PredictQuery, PredictRequest, PredictResponse, RequestKey
from service.engine import ItemResult, RequestResult, ServedModel
from service.engine.batching import with_deadline
from service.errors import ProblemError
from service.runtime import ServiceRuntime

router = APIRouter(tags=["predict"])
PATH = "/v1/models/{model}/predict"

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "type": "object",
    "properties": {
        "image": {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "any file field"},
        "text": {"type": "array", "items": {"type": "string"}},
        "group": {"type": "array", "items": {"type": "string"}, "description": "once, or once per input"},
        "trigger": {"type": "string"},
        "twin": {"type": "boolean"},
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/PredictRequest"},
                "examples": {
                    "image": {"value": {"inputs": [{"image": "iVBORw0KGgo..."}], "group": "female"}},
                    "texts": {"value": {"inputs": [{"text": "go away"}, {"text": "well done"}], "twin": True}},
                },
            },
            "multipart/form-data": {"schema": _FORM},
            "image/*": _BINARY,
            "application/octet-stream": _BINARY,
            "text/plain": {"schema": {"type": "string"}},
        },
    }
}
BODY_SCHEMAS = (PredictRequest,)
"""Models that only the request body above refers to; the OpenAPI document has to define them."""


@router.post(
    PATH,
    summary="Classify images or texts under a trigger",
    response_model=PredictResponse,
    response_model_exclude_none=True,
    openapi_extra=_BODY,
)
async def predict(
    request: Request,
    service: Runtime,
    model: Model,
    bearer: Bearer,
    query: Annotated[PredictQuery, Query()],
    x_timeout_ms: Annotated[str | None, Header(description="most milliseconds that the answer may take")] = None,
    x_request_key: Annotated[
        RequestKey | None, Header(description="whose request it is: one key, one trigger; default: the request id")
    ] = None,
) -> Response:
    """Send JSON, a multipart form, or one raw image or text.

    An input that cannot be used gets an `error` in its place and its neighbours are answered (status 200); if no input
    can be used the status says why. A text over the model's token limit is cut and marked `"truncated": true`.
    Choosing a trigger needs the admin token, unless the service was started with `client_trigger=open`; `champion` is
    for everybody. Where a challenger is on trial, one `X-Request-Key` (or `key` in the body) always gets the same of
    the two.
    """
    raw_request = RawRequest(request.scope, request.receive)
    body, headers = await answer_predict(raw_request, service, model)
    return Response(body, headers=headers, media_type="application/json")


ROUTE = router.routes[-1]
"""The route object of `predict`."""


async def answer_predict(
    raw_request: RawRequest, service: ServiceRuntime, model: ServedModel
) -> tuple[bytes, dict[str, str]]:
    """The JSON body and the headers of a predict response. On the event loop. Raises FairtriggerError."""
    limit = timeout_ms(raw_request.header(b"x-timeout-ms"))
    key = request_key(raw_request.header(b"x-request-key"), raw_request.request_id)
    inputs = await read_inputs(
        raw_request, read_query(raw_request.scope)._replace(key=key), service.settings.max_items_per_request
    )
    if any(one_input.choice not in ("rollout", "champion") for one_input in inputs):
        require_choice(service.settings, service.keyring, raw_request.scope)
    work = model.predict(inputs, actor=raw_request.actor, disconnect=raw_request.wait_for_disconnect)
    result = await (work if limit is None else with_deadline(limit, work))
    _refuse_if_all_failed(result)
    trusted = trusted_by_guard(service.settings, raw_request.scope)
    return orjson.dumps(_document(model, result, trusted)), served_headers(raw_request.scope, model, result)


def _refuse_if_all_failed(result: RequestResult) -> None:
    problems = [to_problem(item_result.error) for item_result in result.items if item_result.error]
    if len(problems) < len(result.items):
        return
    if len(problems) == 1:
        problem = problems[0]
        raise ProblemError(problem.status, problem.code, problem.detail, headers=problem.headers)
    detail = f"None of the {len(problems)} inputs can be used; the first: {problems[0].detail}"
    raise ProblemError(422, "no_usable_input", detail, errors=[problem.body() for problem in problems])


def _document(model: ServedModel, result: RequestResult, trusted: bool) -> dict[str, Any]:
    fault = model.fault
    return {
        "model": model.name,
        "model_fingerprint": model.classifier.fingerprint,
        "revision": max(item_result.answer.revision for item_result in result.items if item_result.answer),
        "predictions": [_prediction(model, item_result, trusted) for item_result in result.items],
        "timing": {
            "decode_ms": round(result.decode * 1e3, 3),
            "queue_ms": round(result.queue * 1e3, 3),
            "infer_ms": round(result.infer * 1e3, 3),
            "batch_size": max((timing.batch_size for timing in result.timings), default=0),
        },
        **({"fault": fault} if fault else {}),
    }


def _prediction(model: ServedModel, item_result: ItemResult, trusted: bool) -> dict[str, Any]:
    if item_result.error:
        return {"error": to_problem(item_result.error).body()}
    answer = item_result.answer
    assert answer
    document = _scored(model, answer.scores)
    document["trigger"] = {"version": answer.version, "digest": answer.digest}
    document["policy"] = answer.policy
    document["prediction_id"] = model.prediction_log.record_prediction(
        answer, item_result.wanted.group, trusted=trusted
    )
    if item_result.truncated:
        document["truncated"] = True
    if answer.baseline_scores and item_result.wanted.twin:
        twin = _scored(model, answer.baseline_scores)
        document["twin"] = twin | {"flipped": twin["label_index"] != document["label_index"]}
    return document


def _scored(model: ServedModel, scores: Sequence[float]) -> dict[str, Any]:
    labels, index = model.classifier.labels, model.label_of_scores(scores)
    return {"label": labels[index], "label_index": index, "scores": dict(zip(labels, scores, strict=True))}
