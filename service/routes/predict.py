"""POST predict: inputs in three encodings, one answer each, every answer naming the version that computed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request, Response

from service.auth import Bearer, require_choice, trusted_by_guard
from service.call import Call
from service.counting import best
from service.deadline import within
from service.headers import served_headers, timeout_ms
from service.intake import read_inputs, read_query
from service.lookup import Model, RunningService
from service.problems import ProblemError
from service.request_key import request_key
from service.running import Running
from service.schemas import PredictQuery, PredictRequest, PredictResponse, RequestKey
from service.served import Outcome, Served, ServedModel

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
    service: RunningService,
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
    call = Call(request.scope, request.receive)
    body, headers = await answer(call, service, model)
    return Response(body, headers=headers, media_type="application/json")


ROUTE = router.routes[-1]
"""Where predict is declared."""


async def answer(call: Call, service: Running, model: ServedModel) -> tuple[bytes, dict[str, str]]:
    """What `predict` answers: a JSON document and what its headers say beside it. Raises FairtriggerError."""
    limit = timeout_ms(call.header(b"x-timeout-ms"))
    key = request_key(call.header(b"x-request-key"), call.request_id)
    wanted = await read_inputs(call, read_query(call.scope)._replace(key=key), service.settings.max_items_per_request)
    if any(want.choice not in ("rollout", "champion") for want in wanted):
        require_choice(service.settings, service.keyring, call.scope)
    work = model.predict(wanted, actor=call.actor, gone=call.gone)
    served = await (work if limit is None else within(limit, work))
    _refuse_if_all_failed(served)
    trusted = trusted_by_guard(service.settings, call.scope)
    return orjson.dumps(_document(model, served, trusted)), served_headers(call.scope, model, served)


def _refuse_if_all_failed(served: Served) -> None:
    problems = [outcome.problem for outcome in served.outcomes if outcome.problem]
    if len(problems) < len(served.outcomes):
        return
    if len(problems) == 1:
        problem = problems[0]
        raise ProblemError(problem.status, problem.code, problem.detail, headers=problem.headers)
    detail = f"None of the {len(problems)} inputs can be used; the first: {problems[0].detail}"
    raise ProblemError(422, "no_usable_input", detail, errors=[problem.body() for problem in problems])


def _document(model: ServedModel, served: Served, trusted: bool) -> dict[str, Any]:
    return {
        "model": model.name,
        "model_fingerprint": model.classifier.fingerprint,
        "revision": max(outcome.answer.revision for outcome in served.outcomes if outcome.answer),
        "predictions": [_prediction(model, outcome, trusted) for outcome in served.outcomes],
        "timing": {
            "decode_ms": round(served.decode * 1e3, 3),
            "queue_ms": round(served.queue * 1e3, 3),
            "infer_ms": round(served.infer * 1e3, 3),
            "batch_size": max((timing.batch_size for timing in served.timings), default=0),
        },
    }


def _prediction(model: ServedModel, outcome: Outcome, trusted: bool) -> dict[str, Any]:
    if outcome.problem:
        return {"error": outcome.problem.body()}
    answer = outcome.answer
    assert answer
    document = _scored(model, answer.scores)
    document["trigger"] = {"version": answer.version, "digest": answer.digest}
    document["policy"] = answer.policy
    document["prediction_id"] = model.counting.predicted(answer, outcome.wanted.group, trusted=trusted)
    if outcome.truncated:
        document["truncated"] = True
    if answer.bare and outcome.wanted.twin:
        twin = _scored(model, answer.bare)
        document["twin"] = twin | {"flipped": twin["label_index"] != document["label_index"]}
    return document


def _scored(model: ServedModel, scores: Sequence[float]) -> dict[str, Any]:
    labels, index = model.classifier.labels, best(scores)
    return {"label": labels[index], "label_index": index, "scores": dict(zip(labels, scores, strict=True))}
