"""The feedback route: true labels and groups that become known after the prediction."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request

from service.api.auth_dependencies import trusted_by_guard
from service.api.dependencies import Model, Runtime
from service.api.pooled_route import PooledRoute
from service.api.problem_details import to_problem
from service.api.schemas import FeedbackBody, FeedbackItem, FeedbackResponse, FeedbackResult, ProblemDocument
from service.engine.prediction_log import LabelReport
from triggers.errors import InputError

router = APIRouter(route_class=PooledRoute, tags=["feedback"])

_EXAMPLES = {
    "one": {"value": {"prediction_id": "AWJ4c2...", "label": "attractive"}},
    "many": {"value": [{"prediction_id": "AWJ4c2...", "label": 1}, {"prediction_id": "AaX0k9...", "group": "female"}]},
}


@router.post(
    "/v1/models/{model}/feedback", summary="Tell a true label or group later", response_model_exclude_none=True
)
def give_feedback(
    request: Request,
    service: Runtime,
    model: Model,
    body: Annotated[FeedbackBody, Body(openapi_examples=_EXAMPLES)],
) -> FeedbackResponse:
    """One piece of feedback or a list. A label is a name or an index; sending the same again changes nothing.

    The prediction is found by its `prediction_id`, which is sealed: an altered or foreign one is refused. A later label
    or group replaces an earlier one. In a list, a bad entry gets an `error` in its place and the others are counted.
    """
    items = [body] if isinstance(body, FeedbackItem) else body
    reports = [LabelReport(each.prediction_id, each.label, each.group) for each in items]
    outcomes = model.prediction_log.apply_feedback(reports, trusted=trusted_by_guard(service.settings, request.scope))
    if isinstance(body, FeedbackItem) and isinstance(outcomes[0], InputError):
        raise outcomes[0]
    return FeedbackResponse(results=[_result(outcome) for outcome in outcomes])


def _result(outcome: str | InputError) -> FeedbackResult:
    if isinstance(outcome, InputError):
        return FeedbackResult(status="refused", error=ProblemDocument(**to_problem(outcome).body()))
    return FeedbackResult(status=str(outcome))
