"""POST predict: inputs in three encodings, one answer each, every answer naming the version that computed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse

from service.auth import Bearer, require_admin
from service.counting import best
from service.intake import Defaults, read_inputs
from service.lookup import Model, RunningService
from service.problems import ProblemError
from service.schemas import GroupName, PredictRequest, PredictResponse, RequestKey, TriggerChoice
from service.served import Outcome, Served, ServedModel

router = APIRouter(tags=["predict"])

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
    "/v1/models/{model}/predict",
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
    group: Annotated[GroupName | None, Query(description="group of every input that names none")] = None,
    trigger: Annotated[TriggerChoice | None, Query(description="champion, challenger, none, or a version")] = None,
    twin: Annotated[bool, Query(description="also run every input without the trigger, in the same batch")] = False,
    x_request_key: Annotated[
        RequestKey | None, Header(description="whose request it is: one key, one trigger; default: the request id")
    ] = None,
) -> JSONResponse:
    """Send JSON, a multipart form, or one raw image or text.

    An input that cannot be used gets an `error` in its place and its neighbours are answered (status 200); if no input
    can be used the status says why. A text over the model's token limit is cut and marked `"truncated": true`.
    Choosing a trigger needs the admin token, unless the service was started with `client_trigger=open`; `champion` is
    for everybody. Where a challenger is on trial, one `X-Request-Key` (or `key` in the body) always gets the same of
    the two.
    """
    key = x_request_key or request.state.request_id
    wanted = await read_inputs(request, Defaults(group, trigger, twin, key), service.settings.max_items_per_request)
    if any(want.choice not in ("rollout", "champion") for want in wanted) and service.settings.client_trigger != "open":
        require_admin(service.settings.admin_token, bearer.credentials if bearer else None)
    served = await model.predict(wanted, actor=_actor(request), gone=lambda: _gone(request))
    _refuse_if_all_failed(served)
    return JSONResponse(_document(model, served), headers={"Server-Timing": _server_timing(served)})


async def _gone(request: Request) -> None:
    """Return when the client closes its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _actor(request: Request) -> str:
    return f"client {request.client.host}" if request.client else "client"


def _refuse_if_all_failed(served: Served) -> None:
    problems = [outcome.problem for outcome in served.outcomes if outcome.problem]
    if len(problems) < len(served.outcomes):
        return
    if len(problems) == 1:
        problem = problems[0]
        raise ProblemError(problem.status, problem.code, problem.detail, headers=problem.headers)
    detail = f"None of the {len(problems)} inputs can be used; the first: {problems[0].detail}"
    raise ProblemError(422, "no_usable_input", detail, errors=[problem.body() for problem in problems])


def _document(model: ServedModel, served: Served) -> dict[str, Any]:
    return {
        "model": model.name,
        "model_fingerprint": model.classifier.fingerprint,
        "revision": max(outcome.answer.revision for outcome in served.outcomes if outcome.answer),
        "predictions": [_prediction(model, outcome) for outcome in served.outcomes],
        "timing": {
            "decode_ms": round(served.decode * 1e3, 3),
            "queue_ms": round(served.queue * 1e3, 3),
            "infer_ms": round(served.infer * 1e3, 3),
            "batch_size": max((timing.batch_size for timing in served.timings), default=0),
        },
    }


def _prediction(model: ServedModel, outcome: Outcome) -> dict[str, Any]:
    if outcome.problem:
        return {"error": outcome.problem.body()}
    answer = outcome.answer
    assert answer
    document = _scored(model, answer.scores)
    document["trigger"] = {"version": answer.version, "digest": answer.digest}
    document["policy"] = answer.policy
    document["prediction_id"] = model.counting.predicted(answer, outcome.wanted.group)
    if outcome.truncated:
        document["truncated"] = True
    if answer.bare and outcome.wanted.twin:
        twin = _scored(model, answer.bare)
        document["twin"] = twin | {"flipped": twin["label_index"] != document["label_index"]}
    return document


def _scored(model: ServedModel, scores: Sequence[float]) -> dict[str, Any]:
    labels, index = model.classifier.labels, best(scores)
    return {"label": labels[index], "label_index": index, "scores": dict(zip(labels, scores, strict=True))}


def _server_timing(served: Served) -> str:
    parts = {"decode": served.decode, "queue": served.queue, "infer": served.infer}
    return ", ".join(f"{name};dur={seconds * 1e3:.3f}" for name, seconds in parts.items())
